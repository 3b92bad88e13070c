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
    pub(super) const fn hold(self, byte: u8) -> bool {
        match self {
            Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Word => byte.is_ascii_alphanumeric() || byte == b'_',
            Dash => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Dot => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'+' | b'='),
            Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='),
        }
    }
}

/// A token that gives itself away.
pub(super) struct Token {
    pub(super) prefix: &'static str,
    /// How many bytes must follow at least.
    pub(super) least: usize,
    /// Which bytes may follow.
    pub(super) letters: Letters,
}

const fn token(prefix: &'static str, least: usize, letters: Letters) -> Token {
    Token {
        prefix,
        least,
        letters,
    }
}

/// Tokens that give themselves away.
///
/// The lengths are lower bounds, below the issuers' own, yet above what a module path or a
/// pseudo-version reaches. Case matters. In order, so that a prefix is found fast.
pub(super) const TOKENS: &[Token] = &[
    token("ABIA", 16, Upper),             // Amazon, access key identifier
    token("ABSK", 60, Base64),            // Amazon Bedrock
    token("ACCA", 16, Upper),             // Amazon, access key identifier
    token("AGE-SECRET-KEY-1", 50, Upper), // age, secret key
    token("AIza", 30, Dash),              // Google, API key
    token("AKCp", 50, Word),              // Artifactory, API key
    token("AKIA", 16, Upper),             // Amazon, access key identifier
    token("AKID", 28, Word),              // Tencent, secret identifier
    token("API-", 26, Upper),             // Octopus Deploy
    token("ASIA", 16, Upper),             // Amazon, access key identifier
    token("ATATT3", 20, Dot),             // Atlassian
    token("ATBB", 20, Word),              // Bitbucket
    token("ATCTT3", 20, Dot),             // Atlassian
    token("ATSTT3", 20, Dot),             // Atlassian
    token("BBDC-", 24, Base64),           // Bitbucket Data Center
    token("CCIPAT_", 36, Word),           // CircleCI
    token("CLOJARS_", 30, Word),          // Clojars
    token("GOCSPX-", 20, Dash),           // Google, OAuth client secret
    token("GR1348941", 16, Dash),         // GitLab
    token("HRKU-", 36, Dash),             // Heroku
    token("LTAI", 12, Word),              // Alibaba, access key identifier
    token("NRAK-", 26, Upper),            // New Relic
    token("PMAK-", 50, Dash),             // Postman
    token("SG.", 40, Dot),                // SendGrid
    token("api_org_", 30, Word),          // Hugging Face
    token("bkua_", 36, Word),             // Buildkite
    token("cmVmdGtu", 50, Word),          // Artifactory, reference token: `reftkn` in base64
    token("dapi", 32, Word),              // Databricks
    token("dckr_oat_", 20, Dash),         // Docker Hub
    token("dckr_pat_", 20, Dash),         // Docker Hub
    token("doo_v1_", 32, Word),           // DigitalOcean
    token("dop_v1_", 32, Word),           // DigitalOcean
    token("dor_v1_", 32, Word),           // DigitalOcean
    token("dp.ct.", 36, Word),            // Doppler
    token("dp.pt.", 36, Word),            // Doppler
    token("dp.st.", 36, Dot),             // Doppler
    token("dt0c01.", 60, Dot),            // Dynatrace
    token("eyJ", 16, Dot),                // JSON Web Token, or any JSON object in base64: `{"`
    token("fm1a_", 60, Base64),           // Fly.io
    token("fm1r_", 60, Base64),           // Fly.io
    token("fm2_", 60, Base64),            // Fly.io
    token("fo1_", 40, Dash),              // Fly.io
    token("gho_", 20, Word),              // GitHub
    token("ghp_", 20, Word),              // GitHub
    token("ghr_", 20, Word),              // GitHub
    token("ghs_", 20, Dot),               // GitHub
    token("ghu_", 20, Word),              // GitHub
    token("github_pat_", 20, Word),       // GitHub
    token("glagent-", 16, Dot),           // GitLab
    token("glc_", 32, Base64),            // Grafana
    token("glcbt-", 16, Dot),             // GitLab
    token("gldt-", 16, Dot),              // GitLab
    token("glffct-", 16, Dot),            // GitLab
    token("glft-", 16, Dot),              // GitLab
    token("glimt-", 16, Dot),             // GitLab
    token("gloas-", 16, Dot),             // GitLab
    token("glpat-", 16, Dot),             // GitLab
    token("glptt-", 16, Dot),             // GitLab
    token("glrt-", 16, Dot),              // GitLab
    token("glrtr-", 16, Dot),             // GitLab
    token("glsa_", 32, Word),             // Grafana
    token("glsoat-", 16, Dot),            // GitLab
    token("gsk_", 40, Word),              // Groq
    token("hf_", 30, Word),               // Hugging Face
    token("hvb.", 20, Dash),              // HashiCorp Vault
    token("hvr.", 20, Dash),              // HashiCorp Vault
    token("hvs.", 20, Dash),              // HashiCorp Vault
    token("lin_api_", 32, Word),          // Linear
    token("lin_oauth_", 32, Word),        // Linear
    token("npm_", 30, Word),              // npm
    token("ntn_", 40, Word),              // Notion
    token("ops_eyJ", 60, Dot),            // 1Password, service account
    token("oy2", 40, Word),               // NuGet
    token("pnu_", 36, Word),              // Prefect
    token("pplx-", 40, Word),             // Perplexity
    token("pscale_oauth_", 32, Dot),      // PlanetScale
    token("pscale_pw_", 32, Dot),         // PlanetScale
    token("pscale_tkn_", 32, Dot),        // PlanetScale
    token("pul-", 40, Word),              // Pulumi
    token("pypi-", 40, Dash),             // PyPI
    token("rk_live_", 16, Word),          // Stripe
    token("rk_prod_", 16, Word),          // Stripe
    token("rk_test_", 16, Word),          // Stripe
    token("rubygems_", 30, Word),         // RubyGems
    token("sgp_", 36, Word),              // Sourcegraph
    token("sha256~", 40, Dash),           // OpenShift
    token("shpat_", 32, Word),            // Shopify
    token("shpca_", 32, Word),            // Shopify
    token("shppa_", 32, Word),            // Shopify
    token("shpss_", 32, Word),            // Shopify
    token("sk-admin-", 30, Dash),         // OpenAI
    token("sk-ant-", 30, Dash),           // Anthropic
    token("sk-proj-", 30, Dash),          // OpenAI
    token("sk-svcacct-", 30, Dash),       // OpenAI
    token("sk_live_", 16, Word),          // Stripe
    token("sk_prod_", 16, Word),          // Stripe
    token("sk_test_", 16, Word),          // Stripe
    token("sntrys_", 30, Dot),            // Sentry
    token("sntryu_", 40, Word),           // Sentry
    token("sq0atp-", 20, Dash),           // Square
    token("sq0csp-", 20, Dash),           // Square
    token("tskey-", 16, Dash),            // Tailscale
    token("v1.0-", 100, Dash),            // Cloudflare, origin CA key
    token("whsec_", 24, Base64),          // Stripe
    token("xapp-", 10, Dash),             // Slack
    token("xkeysib-", 60, Dash),          // Brevo
    token("xoxa-", 10, Dash),             // Slack
    token("xoxb-", 10, Dash),             // Slack
    token("xoxc-", 10, Dash),             // Slack
    token("xoxd-", 10, Dash),             // Slack
    token("xoxe-", 10, Dash),             // Slack
    token("xoxe.", 10, Dot),              // Slack
    token("xoxo-", 10, Dash),             // Slack
    token("xoxp-", 10, Dash),             // Slack
    token("xoxr-", 10, Dash),             // Slack
    token("xoxs-", 10, Dash),             // Slack
    token("ya29.", 20, Dot),              // Google, OAuth access token
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
pub(super) enum Secrecy {
    /// The value may be shown.
    Open,
    /// The value is a secret if it looks like one: `code=404` does not.
    Possible,
    /// The value is a secret.
    Secret,
}

const N: Secrecy = Secrecy::Open;
const P: Secrecy = Secrecy::Possible;
const S: Secrecy = Secrecy::Secret;

/// A word that gives a name away.
pub(super) struct Telling {
    pub(super) word: &'static str,
    pub(super) how: Match,
    /// What it says in a query, as a header field, in `name=value` or as a flag, and in prose that goes
    /// on with a colon: by `Place`.
    pub(super) secrecy: [Secrecy; 4],
}

const fn telling(word: &'static str, how: Match, secrecy: [Secrecy; 4]) -> Telling {
    Telling { word, how, secrecy }
}

/// Words that give a name away.
pub(super) const WORDS: &[Telling] = &[
    telling("passw", Part, [S, S, S, S]),
    telling("passphrase", Part, [S, S, S, S]),
    telling("passcode", Part, [S, S, S, S]),
    telling("pass", End, [S, S, S, N]),
    telling("pwd", Whole, [S, S, S, P]),
    telling("pw", Whole, [S, S, S, N]),
    telling("secret", Part, [S, S, S, P]),
    telling("credential", Part, [S, S, S, P]),
    telling("creds", Whole, [S, S, S, P]),
    telling("cred", Whole, [S, S, S, N]),
    telling("token", End, [S, S, S, P]),
    telling("jwt", Whole, [S, S, S, P]),
    telling("otp", Whole, [S, S, S, N]),
    telling("totp", Whole, [S, S, S, N]),
    telling("pat", Whole, [S, S, S, N]),
    telling("verifier", Last, [S, S, S, N]),
    telling("signature", End, [S, S, S, N]),
    telling("sig", Whole, [S, S, S, N]),
    telling("hmac", Whole, [S, S, S, N]),
    telling("assertion", End, [S, S, S, N]),
    telling("csrf", Part, [S, S, S, N]),
    telling("xsrf", Part, [S, S, S, N]),
    telling("authorization", Part, [S, S, S, S]),
    telling("authentication", Whole, [N, S, N, N]),
    telling("auth", Last, [P, S, P, N]),
    telling("cookie", Last, [N, S, P, N]),
    telling("session", Part, [N, S, N, N]),
    telling("dpop", Whole, [N, S, N, N]),
    telling("bearer", Last, [S, S, S, N]),
    telling("key", Last, [P, S, P, N]),
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
pub(super) const KEYS: &[(&str, Secrecy)] = &[
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
pub(super) const QUERY_KEYS: &[(&str, Secrecy)] = &[
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

/// A flag whose name says nothing about its value.
pub(super) struct Flag {
    /// The programs that have it; none means all.
    pub(super) programs: &'static [&'static str],
    pub(super) name: &'static str,
    pub(super) holds: Holds,
    pub(super) stands: Stands,
}

const fn flag(
    programs: &'static [&'static str],
    name: &'static str,
    holds: Holds,
    stands: Stands,
) -> Flag {
    Flag {
        programs,
        name,
        holds,
        stands,
    }
}

/// Flags whose names say nothing about their values.
///
/// From the manuals of curl, ab, HTTPie, MariaDB, sshpass, Redis, OpenLDAP, 7-Zip, Info-ZIP, sqlcmd
/// and OpenSSL, and of what has a `login`: docker, podman, helm, oc, az.
#[rustfmt::skip]
pub(super) const FLAGS: &[Flag] = &[
    flag(&["curl"], "-H", Field, Either),
    flag(&["curl"], "-b", Cookie, Either),
    flag(&[], "-u", Account, Either),
    flag(&[], "-U", Account, Either),
    flag(&[], "--user", Account, Apart),
    flag(&[], "--proxy-user", Account, Apart),
    flag(&[], "-H", Field, Apart),
    flag(&[], "--header", Field, Apart),
    flag(&[], "--proxy-header", Field, Apart),
    flag(&[], "-b", Cookie, Apart),
    flag(&[], "--cookie", Cookie, Apart),
    flag(&[], "-passin", Secret, Apart),
    flag(&[], "-passout", Secret, Apart),
    flag(SHELLS, "-c", Line, Apart),
    flag(SHELLS, "-ec", Line, Apart),
    flag(SHELLS, "-lc", Line, Apart),
    flag(SHELLS, "-xc", Line, Apart),
    flag(SHELLS, "-exc", Line, Apart),
    flag(SHELLS, "-euc", Line, Apart),
    flag(&["http", "https", "xh", "xhs"], "-a", Account, Either),
    flag(&["ab"], "-A", Account, Either),
    flag(&["ab"], "-C", Cookie, Either),
    flag(&["sshpass", "login", "mongo", "mongosh", "mongodump"], "-p", Secret, Either),
    flag(&["mysql", "mysqldump", "mysqladmin", "mariadb", "mariadb-dump"], "-p", Secret, Joined),
    flag(&["7z", "7za", "7zr", "7zz"], "-p", Secret, Joined),
    flag(&["redis-cli"], "-a", Secret, Either),
    flag(&["ldapadd", "ldapmodify", "ldapsearch", "ldapwhoami"], "-w", Secret, Either),
    flag(&["zip", "unzip", "sqlcmd", "bcp"], "-P", Secret, Either),
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
