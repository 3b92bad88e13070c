//! What counts as a secret: the tables, and nothing but tables.
//!
//! Prefixes, alphabets and lengths of tokens are facts that issuers publish so that leaks are found;
//! they were compared with the rule sets of gitleaks (2026-07) and Kingfisher (2025-06), and with
//! GitHub's list of secret scanning patterns. The words of names were compared with the lists of
//! detect-secrets (2026-04), Cloudflare's har-sanitizer (2024-09) and gitleaks' generic rule; the
//! query keys of signed URLs come from the storage services' own references.

use Holds::{Account, Cookie, Field, Line, Secret};
use Letters::{Base64, Dash, Dot, Upper, Word};
use Match::{End, Last, Part, Whole};
use Stands::{Apart, Either, Joined};

/// What may follow a token's prefix.
#[derive(Clone, Copy)]
pub(super) enum Letters {
    /// `A-Z 0-9`
    Upper,
    /// `A-Z a-z 0-9 _`
    Word,
    /// The same and `-`: base64url.
    Dash,
    /// The same and `. + =`: several parts of base64.
    Dot,
    /// `A-Z a-z 0-9 + / =`
    Base64,
}

impl Letters {
    pub(super) const fn hold(self, octet: u8) -> bool {
        match self {
            Upper => octet.is_ascii_uppercase() || octet.is_ascii_digit(),
            Word => octet.is_ascii_alphanumeric() || octet == b'_',
            Dash => octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-'),
            Dot => {
                octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-' | b'.' | b'+' | b'=')
            }
            Base64 => octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/' | b'='),
        }
    }
}

/// Tokens that give themselves away: prefix, how many octets must follow at least, and which.
///
/// The lengths are lower bounds, below the issuers' own, yet above what a module path or a
/// pseudo-version reaches. Case matters. In order, so that a prefix is found fast.
pub(super) const TOKENS: &[(&str, usize, Letters)] = &[
    ("ABIA", 16, Upper),             // Amazon, access key identifier
    ("ABSK", 60, Base64),            // Amazon Bedrock
    ("ACCA", 16, Upper),             // Amazon, access key identifier
    ("AGE-SECRET-KEY-1", 50, Upper), // age, secret key
    ("AIza", 30, Dash),              // Google, API key
    ("AKCp", 50, Word),              // Artifactory, API key
    ("AKIA", 16, Upper),             // Amazon, access key identifier
    ("AKID", 28, Word),              // Tencent, secret identifier
    ("API-", 26, Upper),             // Octopus Deploy
    ("ASIA", 16, Upper),             // Amazon, access key identifier
    ("ATATT3", 20, Dot),             // Atlassian
    ("ATBB", 20, Word),              // Bitbucket
    ("ATCTT3", 20, Dot),             // Atlassian
    ("ATSTT3", 20, Dot),             // Atlassian
    ("BBDC-", 24, Base64),           // Bitbucket Data Center
    ("CCIPAT_", 36, Word),           // CircleCI
    ("CLOJARS_", 30, Word),          // Clojars
    ("GOCSPX-", 20, Dash),           // Google, OAuth client secret
    ("GR1348941", 16, Dash),         // GitLab
    ("HRKU-", 36, Dash),             // Heroku
    ("LTAI", 12, Word),              // Alibaba, access key identifier
    ("NRAK-", 26, Upper),            // New Relic
    ("PMAK-", 50, Dash),             // Postman
    ("SG.", 40, Dot),                // SendGrid
    ("api_org_", 30, Word),          // Hugging Face
    ("bkua_", 36, Word),             // Buildkite
    ("cmVmdGtu", 50, Word),          // Artifactory, reference token: `reftkn` in base64
    ("dapi", 32, Word),              // Databricks
    ("dckr_oat_", 20, Dash),         // Docker Hub
    ("dckr_pat_", 20, Dash),         // Docker Hub
    ("doo_v1_", 32, Word),           // DigitalOcean
    ("dop_v1_", 32, Word),           // DigitalOcean
    ("dor_v1_", 32, Word),           // DigitalOcean
    ("dp.ct.", 36, Word),            // Doppler
    ("dp.pt.", 36, Word),            // Doppler
    ("dp.st.", 36, Dot),             // Doppler
    ("dt0c01.", 60, Dot),            // Dynatrace
    ("eyJ", 16, Dot),                // JSON Web Token, or any JSON object in base64: `{"`
    ("fm1a_", 60, Base64),           // Fly.io
    ("fm1r_", 60, Base64),           // Fly.io
    ("fm2_", 60, Base64),            // Fly.io
    ("fo1_", 40, Dash),              // Fly.io
    ("gho_", 20, Word),              // GitHub
    ("ghp_", 20, Word),              // GitHub
    ("ghr_", 20, Word),              // GitHub
    ("ghs_", 20, Dot),               // GitHub
    ("ghu_", 20, Word),              // GitHub
    ("github_pat_", 20, Word),       // GitHub
    ("glagent-", 16, Dot),           // GitLab
    ("glc_", 32, Base64),            // Grafana
    ("glcbt-", 16, Dot),             // GitLab
    ("gldt-", 16, Dot),              // GitLab
    ("glffct-", 16, Dot),            // GitLab
    ("glft-", 16, Dot),              // GitLab
    ("glimt-", 16, Dot),             // GitLab
    ("gloas-", 16, Dot),             // GitLab
    ("glpat-", 16, Dot),             // GitLab
    ("glptt-", 16, Dot),             // GitLab
    ("glrt-", 16, Dot),              // GitLab
    ("glrtr-", 16, Dot),             // GitLab
    ("glsa_", 32, Word),             // Grafana
    ("glsoat-", 16, Dot),            // GitLab
    ("gsk_", 40, Word),              // Groq
    ("hf_", 30, Word),               // Hugging Face
    ("hvb.", 20, Dash),              // HashiCorp Vault
    ("hvr.", 20, Dash),              // HashiCorp Vault
    ("hvs.", 20, Dash),              // HashiCorp Vault
    ("lin_api_", 32, Word),          // Linear
    ("lin_oauth_", 32, Word),        // Linear
    ("npm_", 30, Word),              // npm
    ("ntn_", 40, Word),              // Notion
    ("ops_eyJ", 60, Dot),            // 1Password, service account
    ("oy2", 40, Word),               // NuGet
    ("pnu_", 36, Word),              // Prefect
    ("pplx-", 40, Word),             // Perplexity
    ("pscale_oauth_", 32, Dot),      // PlanetScale
    ("pscale_pw_", 32, Dot),         // PlanetScale
    ("pscale_tkn_", 32, Dot),        // PlanetScale
    ("pul-", 40, Word),              // Pulumi
    ("pypi-", 40, Dash),             // PyPI
    ("rk_live_", 16, Word),          // Stripe
    ("rk_prod_", 16, Word),          // Stripe
    ("rk_test_", 16, Word),          // Stripe
    ("rubygems_", 30, Word),         // RubyGems
    ("sgp_", 36, Word),              // Sourcegraph
    ("sha256~", 40, Dash),           // OpenShift
    ("shpat_", 32, Word),            // Shopify
    ("shpca_", 32, Word),            // Shopify
    ("shppa_", 32, Word),            // Shopify
    ("shpss_", 32, Word),            // Shopify
    ("sk-admin-", 30, Dash),         // OpenAI
    ("sk-ant-", 30, Dash),           // Anthropic
    ("sk-proj-", 30, Dash),          // OpenAI
    ("sk-svcacct-", 30, Dash),       // OpenAI
    ("sk_live_", 16, Word),          // Stripe
    ("sk_prod_", 16, Word),          // Stripe
    ("sk_test_", 16, Word),          // Stripe
    ("sntrys_", 30, Dot),            // Sentry
    ("sntryu_", 40, Word),           // Sentry
    ("sq0atp-", 20, Dash),           // Square
    ("sq0csp-", 20, Dash),           // Square
    ("tskey-", 16, Dash),            // Tailscale
    ("v1.0-", 100, Dash),            // Cloudflare, origin CA key
    ("whsec_", 24, Base64),          // Stripe
    ("xapp-", 10, Dash),             // Slack
    ("xkeysib-", 60, Dash),          // Brevo
    ("xoxa-", 10, Dash),             // Slack
    ("xoxb-", 10, Dash),             // Slack
    ("xoxc-", 10, Dash),             // Slack
    ("xoxd-", 10, Dash),             // Slack
    ("xoxe-", 10, Dash),             // Slack
    ("xoxe.", 10, Dot),              // Slack
    ("xoxo-", 10, Dash),             // Slack
    ("xoxp-", 10, Dash),             // Slack
    ("xoxr-", 10, Dash),             // Slack
    ("xoxs-", 10, Dash),             // Slack
    ("ya29.", 20, Dot),              // Google, OAuth access token
];

/// How a word of the table meets the words of a name: `X-GitHub-OTP` has `x`, `git`, `hub`, `otp`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// It is one of them.
    Whole,
    /// It is the last of them.
    Last,
    /// One of them ends with it: `authtoken`.
    End,
    /// One of them holds it: `pgpassword`.
    Part,
}

/// What a name says about its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Says {
    Nothing,
    /// The value is a secret if it looks like one: `code=404` does not.
    Perhaps,
    Secret,
}

const N: Says = Says::Nothing;
const P: Says = Says::Perhaps;
const S: Says = Says::Secret;

/// Words that give a name away: in a query, as a header field, in `name=value` or as a flag, and in
/// prose that goes on with a colon.
pub(super) const WORDS: &[(&str, Match, [Says; 4])] = &[
    ("passw", Part, [S, S, S, S]),
    ("passphrase", Part, [S, S, S, S]),
    ("passcode", Part, [S, S, S, S]),
    ("pass", End, [S, S, S, N]),
    ("pwd", Whole, [S, S, S, P]),
    ("pw", Whole, [S, S, S, N]),
    ("secret", Part, [S, S, S, P]),
    ("credential", Part, [S, S, S, P]),
    ("creds", Whole, [S, S, S, P]),
    ("cred", Whole, [S, S, S, N]),
    ("token", End, [S, S, S, P]),
    ("jwt", Whole, [S, S, S, P]),
    ("otp", Whole, [S, S, S, N]),
    ("totp", Whole, [S, S, S, N]),
    ("pat", Whole, [S, S, S, N]),
    ("verifier", Last, [S, S, S, N]),
    ("signature", End, [S, S, S, N]),
    ("sig", Whole, [S, S, S, N]),
    ("hmac", Whole, [S, S, S, N]),
    ("assertion", End, [S, S, S, N]),
    ("csrf", Part, [S, S, S, N]),
    ("xsrf", Part, [S, S, S, N]),
    ("authorization", Part, [S, S, S, S]),
    ("authentication", Whole, [N, S, N, N]),
    ("auth", Last, [P, S, P, N]),
    ("cookie", Last, [N, S, P, N]),
    ("session", Part, [N, S, N, N]),
    ("dpop", Whole, [N, S, N, N]),
    ("bearer", Last, [S, S, S, N]),
    ("key", Last, [P, S, P, N]),
];

/// A name with one of these words behind the telling one speaks about the secret:
/// `GitHub-Authentication-Token-Expiration`, `--token-file`.
pub(super) const ABOUT: &[&str] = &[
    "alg",
    "algorithm",
    "count",
    "dir",
    "enabled",
    "endpoint",
    "env",
    "expiration",
    "expire",
    "expires",
    "expiry",
    "file",
    "format",
    "helper",
    "issuer",
    "length",
    "lifetime",
    "limit",
    "method",
    "mode",
    "name",
    "path",
    "prefix",
    "provider",
    "required",
    "results",
    "scheme",
    "size",
    "source",
    "store",
    "supported",
    "ttl",
    "type",
    "uri",
    "url",
    "version",
];

/// What the word before `key` says of it, where it is another than that of any key: a secret
/// whatever its value looks like, one that may stand in a file, or what a cache or a database goes by
/// and a handshake's nonce (RFC 6455).
#[rustfmt::skip]
pub(super) const KEYS: &[(&str, Says)] = &[
    ("access", S), ("account", S), ("api", S), ("auth", S), ("license", S), ("shared", S),
    ("subscription", S),
    ("encryption", P), ("master", P), ("private", P), ("signing", P), ("ssh", P),
    ("cache", N), ("foreign", N), ("group", N), ("idempotency", N), ("index", N), ("lookup", N),
    ("object", N), ("order", N), ("partition", N), ("primary", N), ("public", N), ("range", N),
    ("routing", N), ("row", N), ("socket", N), ("sort", N), ("surrogate", N), ("websocket", N),
];

/// Words that end with a telling one and mean something else.
pub(super) const OTHER_WORDS: &[&str] = &["bypass", "compass", "encompass"];

/// `token` behind one of these is a place in a list.
pub(super) const OPEN_TOKENS: &[&str] = &["continuation", "next", "page"];

/// Names that are open as they stand, in this case.
pub(super) const OPEN_NAMES: &[&str] = &["PWD", "OLDPWD"];

/// Query keys without a telling word.
///
/// Storage and delivery services: Google (`GoogleAccessId`), Amazon (`AWSAccessKeyId`), Alibaba
/// (`OSSAccessKeyId`, `auth_key`), Huawei (`AccessKeyId`), Tencent (`q-ak`, `sign`), CloudFront
/// (`Policy`, `Key-Pair-Id`), Akamai (`hdnea`, `hdnts`, `__gda__`), Upyun (`_upt`). An Azure SAS
/// (`sv`, `se`, `sp`, `sig` …) is worth nothing without its `sig`, so the rest of it stays readable.
/// OAuth 2 (RFC 6749 `code`, RFC 8628), CAS (`ticket`), SAML, and sessions.
pub(super) const QUERY_KEYS: &[(&str, Says)] = &[
    ("__gda__", S),
    ("_upt", S),
    ("accesskeyid", S),
    ("awsaccesskeyid", S),
    ("code", P),
    ("device_code", S),
    ("googleaccessid", S),
    ("hdnea", S),
    ("hdnts", S),
    ("jsessionid", S),
    ("key-pair-id", S),
    ("ossaccesskeyid", S),
    ("phpsessid", S),
    ("policy", P),
    ("q-ak", S),
    ("samlrequest", S),
    ("samlresponse", S),
    ("session", S),
    ("session_id", S),
    ("sessionid", S),
    ("sid", S),
    ("sign", P),
    ("ticket", P),
    ("user_code", S),
];

/// Header fields without a telling word.
pub(super) const FIELDS: &[&str] = &["x-jfrog-art-api"];

/// Authentication schemes (IANA's registry, and some that are only used): the word stays readable.
pub(super) const SCHEMES: &[&str] = &[
    "basic",
    "bearer",
    "digest",
    "negotiate",
    "ntlm",
    "token",
    "apikey",
    "hoba",
    "mutual",
    "dpop",
    "gnap",
    "aws4-hmac-sha256",
    "goog4-rsa-sha256",
    "scram-sha-256",
    "oauth",
];

/// What a flag's value is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// A secret as a whole.
    Secret,
    /// `user:password`
    Account,
    /// `Name: value`
    Field,
    /// `name=value; …`
    Cookie,
    /// A line for a shell.
    Line,
}

/// Where a flag's value stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    /// In the next word.
    Apart,
    /// In the flag's own word.
    Joined,
    Either,
}

/// Flags whose name says nothing: which programs have them (none: whichever), the flag, what its
/// value is, and where that stands.
///
/// From the manuals of curl, ab, HTTPie, MariaDB, sshpass, Redis, OpenLDAP, 7-Zip, Info-ZIP, sqlcmd
/// and OpenSSL, and of what has a `login`: docker, podman, helm, oc, az.
#[rustfmt::skip]
pub(super) const FLAGS: &[(&[&str], &str, Holds, Stands)] = &[
    (&["curl"], "-H", Field, Either),
    (&["curl"], "-b", Cookie, Either),
    (&[], "-u", Account, Either),
    (&[], "-U", Account, Either),
    (&[], "--user", Account, Apart),
    (&[], "--proxy-user", Account, Apart),
    (&[], "-H", Field, Apart),
    (&[], "--header", Field, Apart),
    (&[], "--proxy-header", Field, Apart),
    (&[], "-b", Cookie, Apart),
    (&[], "--cookie", Cookie, Apart),
    (&[], "-passin", Secret, Apart),
    (&[], "-passout", Secret, Apart),
    (SHELLS, "-c", Line, Apart),
    (SHELLS, "-ec", Line, Apart),
    (SHELLS, "-lc", Line, Apart),
    (SHELLS, "-xc", Line, Apart),
    (SHELLS, "-exc", Line, Apart),
    (SHELLS, "-euc", Line, Apart),
    (&["http", "https", "xh", "xhs"], "-a", Account, Either),
    (&["ab"], "-A", Account, Either),
    (&["ab"], "-C", Cookie, Either),
    (&["sshpass", "login", "mongo", "mongosh", "mongodump"], "-p", Secret, Either),
    (&["mysql", "mysqldump", "mysqladmin", "mariadb", "mariadb-dump"], "-p", Secret, Joined),
    (&["7z", "7za", "7zr", "7zz"], "-p", Secret, Joined),
    (&["redis-cli"], "-a", Secret, Either),
    (&["ldapadd", "ldapmodify", "ldapsearch", "ldapwhoami"], "-w", Secret, Either),
    (&["zip", "unzip", "sqlcmd", "bcp"], "-P", Secret, Either),
];

const SHELLS: &[&str] = &["sh", "bash", "dash", "ash", "ksh", "zsh"];

/// Path elements behind which a token stands, as in `/token/5f3c…/`.
pub(super) const TOKEN_ELEMENTS: &[&str] = &[
    "token",
    "tokens",
    "access-token",
    "access_token",
    "accesstoken",
    "auth",
    "auth-token",
    "auth_token",
    "apikey",
    "api-key",
    "api_key",
    "key",
    "secret",
    "pat",
];
