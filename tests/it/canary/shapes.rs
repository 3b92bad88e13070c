//! What secrets look like: nearly sixty shapes, and a new value of a shape for each place.

/// How a value gives itself away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// Wherever it stands, by the prefix that its issuer gave it.
    Anywhere,
    /// In header fields and text.
    InText,
    /// Only by the name of the place.
    Never,
}

/// Name, template and what gives it away. In a template `#` is a letter or digit, `^` a capital or
/// digit, `~` a lower-case hexadecimal digit; all else stands for itself.
pub(super) const SHAPES: &[(&str, &str, Speaks)] = &[
    (
        "GitHub",
        "ghp_####################################",
        Speaks::Anywhere,
    ),
    (
        "GitHub, fine-grained",
        "github_pat_22####################_################################",
        Speaks::Anywhere,
    ),
    (
        "GitHub OAuth",
        "gho_####################################",
        Speaks::Anywhere,
    ),
    (
        "GitHub app",
        "ghs_####################################",
        Speaks::Anywhere,
    ),
    ("GitLab", "glpat-####################", Speaks::Anywhere),
    (
        "GitLab job",
        "glcbt-64_####################",
        Speaks::Anywhere,
    ),
    ("AWS key", "AKIA^^^^^^^^^^^^^^^^", Speaks::Anywhere),
    (
        "AWS temporary key",
        "ASIA^^^^^^^^^^^^^^^^",
        Speaks::Anywhere,
    ),
    (
        "AWS secret",
        "##########/##########+##################",
        Speaks::Never,
    ),
    (
        "AWS session token",
        "IQoJ############################################/##########==",
        Speaks::Never,
    ),
    (
        "signature in hex",
        "~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~",
        Speaks::Never,
    ),
    (
        "signature in base64",
        "##########+##########/##########+#########==",
        Speaks::Never,
    ),
    (
        "Azure signature",
        "############%2B############%2F############%3D",
        Speaks::Never,
    ),
    (
        "JWT",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI################.######################",
        Speaks::Anywhere,
    ),
    (
        "npm",
        "npm_####################################",
        Speaks::Anywhere,
    ),
    (
        "Slack bot",
        "xoxb-123456789012-1234567890123-########################",
        Speaks::Anywhere,
    ),
    (
        "Slack app",
        "xapp-1-A##########-1234567890123-~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~",
        Speaks::Anywhere,
    ),
    (
        "Google API key",
        "AIza###################################",
        Speaks::Anywhere,
    ),
    (
        "Google OAuth",
        "ya29.a0##########################################",
        Speaks::Anywhere,
    ),
    ("Vault", "hvs.########################", Speaks::Anywhere),
    (
        "Stripe",
        "sk_live_########################",
        Speaks::Anywhere,
    ),
    (
        "Docker",
        "dckr_pat_###########################",
        Speaks::Anywhere,
    ),
    (
        "Atlassian",
        "ATATT3xFfGF0########################################",
        Speaks::Anywhere,
    ),
    (
        "Artifactory",
        "AKCp8############################################################",
        Speaks::Anywhere,
    ),
    (
        "Hugging Face",
        "hf_##################################",
        Speaks::Anywhere,
    ),
    (
        "PyPI",
        "pypi-AgEIcHlwaS5vcmc##################################################",
        Speaks::Anywhere,
    ),
    (
        "DigitalOcean",
        "dop_v1_~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~",
        Speaks::Anywhere,
    ),
    (
        "Grafana",
        "glsa_################################_~~~~~~~~",
        Speaks::Anywhere,
    ),
    (
        "Tailscale",
        "tskey-auth-############CNTRL-################################",
        Speaks::Anywhere,
    ),
    (
        "Bitbucket",
        "BBDC-############################################",
        Speaks::Anywhere,
    ),
    (
        "SendGrid",
        "SG.######################.###########################################",
        Speaks::Anywhere,
    ),
    (
        "Slack cookie",
        "xoxc-1234567890123-1234567890123-1234567890123-~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~",
        Speaks::Anywhere,
    ),
    (
        "Stripe test",
        "sk_test_########################",
        Speaks::Anywhere,
    ),
    ("Alibaba", "LTAI5t##################", Speaks::Anywhere),
    (
        "RubyGems",
        "rubygems_~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~",
        Speaks::Anywhere,
    ),
    (
        "Shopify",
        "shpat_~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~",
        Speaks::Anywhere,
    ),
    (
        "Postman",
        "PMAK-~~~~~~~~~~~~~~~~~~~~~~~~-~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~",
        Speaks::Anywhere,
    ),
    (
        "Terraform",
        "hvs.CAESI##################################################",
        Speaks::Anywhere,
    ),
    (
        "private key",
        "-----BEGIN PRIVATE KEY----- ################################ -----END PRIVATE KEY-----",
        Speaks::InText,
    ),
    (
        "digest",
        "username=\"##########\", nonce=\"############\", response=\"~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~\"",
        Speaks::Never,
    ),
    (
        "OAuth code",
        "4/0A######################################",
        Speaks::Never,
    ),
    ("CSRF", "################################", Speaks::Never),
    (
        "UUID",
        "~~~~~~~~-~~~~-~~~~-~~~~-~~~~~~~~~~~~",
        Speaks::Never,
    ),
    (
        "40 hex digits",
        "~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~",
        Speaks::Never,
    ),
    ("short password", "########", Speaks::Never),
    (
        "percent",
        "##########%41##########%zz##########",
        Speaks::Never,
    ),
    ("at", "##########@##########", Speaks::Never),
    ("colon", "##########:##########", Speaks::Never),
    ("slash", "##########/##########", Speaks::Never),
    ("question mark", "##########?##########", Speaks::Never),
    ("double quote", "##########\"##########", Speaks::Never),
    ("single quote", "##########'##########", Speaks::Never),
    ("space", "########## ##########", Speaks::Never),
    ("no ASCII", "##########é##########ü", Speaks::Never),
    (
        "separators",
        "##########;##########,##########&##########",
        Speaks::Never,
    ),
    ("equals", "##########=##########", Speaks::Never),
    (
        "base64url",
        "##########-##########_##########",
        Speaks::Never,
    ),
    (
        "brackets",
        "##########(##########)<##########>",
        Speaks::Never,
    ),
];

/// The value of a shape under `seed`: the same again for the same seed.
pub(super) fn filled(template: &str, seed: u64) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnopqrstuvwxyz";
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bd1_e995;
    let mut below = |limit: usize| {
        // splitmix64: each secret differs from all others in each of its pieces.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % limit
    };
    let filled = template.chars().map(|c| match c {
        '#' => char::from(DIGITS[below(62)]),
        '^' => char::from(DIGITS[below(36)]),
        '~' => char::from(b"0123456789abcdef"[below(16)]),
        c => c,
    });
    filled.collect()
}

/// The random pieces of a value, each long enough not to turn up by chance: a leak may be partial.
pub(super) fn pieces(template: &str, seed: u64) -> Vec<String> {
    let (value, other) = (filled(template, seed), filled(template, seed ^ u64::MAX));
    let split = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_ascii_alphanumeric())
            .map(str::to_owned)
            .collect()
    };
    let others = split(&other);
    let is_hex = |piece: &str| {
        piece
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
    };
    let mut found = vec![value.clone()];
    found.extend(split(&value).into_iter().filter(|piece| {
        let least = if is_hex(piece) { 12 } else { 8 };
        piece.len() >= least && *piece != value && !others.contains(piece)
    }));
    found
}
