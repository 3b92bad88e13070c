//! Who the spans are of: the attributes of their resource, from the recording and the environment.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::resource::v1::Resource;
use percent_encoding::percent_decode_str;

use super::spans::text;
use super::variables::{SettingError, Variables};
use crate::recording::format::Manifest;
use crate::redact::url_without_secrets;

/// The variables of CI systems that are read, each with the attribute that it becomes.
const CI: [(&str, &str); 18] = [
    // GitHub Actions, and what is compatible with it.
    ("GITHUB_REF_NAME", "vcs.ref.head.name"),
    ("GITHUB_REF_TYPE", "vcs.ref.head.type"),
    ("GITHUB_SHA", "vcs.ref.head.revision"),
    ("GITHUB_WORKFLOW", "cicd.pipeline.name"),
    ("GITHUB_RUN_ID", "cicd.pipeline.run.id"),
    ("GITHUB_JOB", "cicd.pipeline.task.name"),
    ("RUNNER_NAME", "cicd.worker.name"),
    // GitLab CI.
    ("CI_PROJECT_URL", "vcs.repository.url.full"),
    ("CI_COMMIT_REF_NAME", "vcs.ref.head.name"),
    ("CI_COMMIT_SHA", "vcs.ref.head.revision"),
    ("CI_PIPELINE_NAME", "cicd.pipeline.name"),
    ("CI_PIPELINE_ID", "cicd.pipeline.run.id"),
    ("CI_PIPELINE_URL", "cicd.pipeline.run.url.full"),
    ("CI_JOB_NAME", "cicd.pipeline.task.name"),
    ("CI_JOB_ID", "cicd.pipeline.task.run.id"),
    ("CI_JOB_URL", "cicd.pipeline.task.run.url.full"),
    ("CI_RUNNER_ID", "cicd.worker.id"),
    ("CI_RUNNER_DESCRIPTION", "cicd.worker.name"),
];

/// The variables of CI systems that have to be looked at together.
const PARTS: [&str; 5] = [
    "GITHUB_ACTIONS",
    "GITHUB_SERVER_URL",
    "GITHUB_REPOSITORY",
    "GITLAB_CI",
    "CI_PROJECT_PATH",
];

/// Whether a variable is read here or by the settings of OTLP.
pub(crate) fn is_read(name: &str) -> bool {
    name.starts_with("OTEL_")
        || PARTS.contains(&name)
        || CI.iter().any(|(variable, _)| *variable == name)
}

/// The resource of a recording's spans; `host` is the machine that recorded, if it is this. What the variables of
/// OpenTelemetry say wins.
pub(crate) fn resource(manifest: &Manifest, variables: &Variables, host: Option<&str>) -> Resource {
    let mut attributes: BTreeMap<&str, String> = BTreeMap::new();
    attributes.insert("service.name", String::from("modtape"));
    if let Some(version) = manifest.tool.strip_prefix("modtape ") {
        attributes.insert("service.version", version.to_owned());
    }
    if let Some(host) = host {
        attributes.insert("host.name", host.to_owned());
    }
    // Not GOOS and GOARCH, which a build for another machine sets.
    let go = |name: &str| {
        let value = manifest.go_env.get(name).filter(|value| !value.is_empty());
        value.map(String::as_str)
    };
    if let Some(os) = go("GOHOSTOS").or_else(|| host.map(|_| std::env::consts::OS)) {
        let os = if os == "macos" { "darwin" } else { os };
        attributes.insert("os.type", os.to_owned());
    }
    if let Some(architecture) = go("GOHOSTARCH").or_else(|| host.map(|_| std::env::consts::ARCH)) {
        let architecture = match architecture {
            "386" => "x86",
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "arm" => "arm32",
            other => other,
        };
        attributes.insert("host.arch", architecture.to_owned());
    }
    add_ci(&mut attributes, variables);
    let own = self::attributes(variables).unwrap_or_default();
    for (name, value) in &own {
        attributes.insert(name, value.clone());
    }
    if let Some(name) = variables.get("OTEL_SERVICE_NAME") {
        attributes.insert("service.name", name.clone());
    }
    let attributes = attributes.iter().map(|(name, value)| text(name, value));
    Resource {
        attributes: attributes.collect(),
        ..Resource::default()
    }
}

fn add_ci(attributes: &mut BTreeMap<&str, String>, variables: &Variables) {
    let is = |name: &str| variables.get(name).is_some_and(|value| value == "true");
    let prefixes: &[&str] = match (is("GITHUB_ACTIONS"), is("GITLAB_CI")) {
        (true, _) => &["GITHUB_", "RUNNER_"],
        (_, true) => &["CI_"],
        (false, false) => return,
    };
    for (variable, attribute) in CI {
        let is_its = prefixes.iter().any(|prefix| variable.starts_with(prefix));
        if let Some(value) = variables.get(variable).filter(|_| is_its) {
            // GitLab's URLs may have the credentials of the job.
            attributes.insert(attribute, url_without_secrets(value));
        }
    }
    let path = match is("GITHUB_ACTIONS") {
        true => "GITHUB_REPOSITORY",
        false => "CI_PROJECT_PATH",
    };
    if let Some(path) = variables.get(path) {
        let (owner, name) = path.rsplit_once('/').unwrap_or(("", path));
        attributes.insert("vcs.repository.name", name.to_owned());
        if !owner.is_empty() {
            attributes.insert("vcs.owner.name", owner.to_owned());
        }
    }
    if !is("GITHUB_ACTIONS") {
        attributes.insert("vcs.provider.name", String::from("gitlab"));
        return;
    }
    attributes.insert("vcs.provider.name", String::from("github"));
    let (server, repository) = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY");
    if let (Some(server), Some(repository)) = (variables.get(server), variables.get(repository)) {
        let url = url_without_secrets(&format!("{server}/{repository}"));
        if let Some(run) = variables.get("GITHUB_RUN_ID") {
            let run = format!("{url}/actions/runs/{run}");
            attributes.insert("cicd.pipeline.run.url.full", run);
        }
        attributes.insert("vcs.repository.url.full", url);
    }
}

/// The attributes of `OTEL_RESOURCE_ATTRIBUTES`.
pub(super) fn attributes(variables: &Variables) -> Result<Vec<(String, String)>, SettingError> {
    let list = variables.get("OTEL_RESOURCE_ATTRIBUTES");
    list.map_or_else(|| Ok(Vec::new()), |list| listed(list))
}

/// `key=value,key=value`, values percent-encoded (OpenTelemetry's resource SDK).
fn listed(list: &str) -> Result<Vec<(String, String)>, SettingError> {
    let pairs = list.split(',').filter(|pair| !pair.trim().is_empty());
    let pairs = pairs.map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        let name = percent_decode_str(name.trim()).decode_utf8().ok()?;
        (!name.is_empty()).then(|| (name.into_owned(), value.into_owned()))
    });
    pairs.collect::<Option<_>>().ok_or_else(|| {
        let why = "it is no list of NAME=VALUE, separated by commas, values percent-encoded";
        SettingError::new("OTEL_RESOURCE_ATTRIBUTES", why)
    })
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;

    use super::*;
    use crate::exchange::Hex;

    fn attributes_of(
        go_env: &[(&str, &str)],
        variables: &[(&str, &str)],
        host: Option<&str>,
    ) -> BTreeMap<String, String> {
        let owned = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            let pairs = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            pairs.collect::<BTreeMap<_, _>>()
        };
        let mut manifest = Manifest::begun("modtape 1", "1".into(), "".into(), Hex([1; 16]));
        manifest.go_env = owned(go_env);
        let resource = resource(&manifest, &owned(variables), host);
        let pairs = resource.attributes.into_iter();
        let pairs = pairs.map(|pair| match pair.value.and_then(|it| it.value) {
            Some(Value::StringValue(value)) => (pair.key, value),
            other => panic!("{other:?}"),
        });
        pairs.collect()
    }

    #[test]
    fn the_machine_is_the_one_that_recorded_and_not_that_of_the_build() {
        let target = [("GOOS", "plan9"), ("GOARCH", "386")];
        let of = attributes_of(&target, &[], None);
        assert!(!of.contains_key("os.type") && !of.contains_key("host.arch"));
        let of = attributes_of(&target, &[], Some("here"));
        assert!(of["os.type"] != "plan9" && of["host.arch"] != "x86_64");
        let host = [("GOHOSTOS", "linux"), ("GOHOSTARCH", "386")];
        let of = attributes_of(&host, &[], None);
        assert_eq!((&*of["os.type"], &*of["host.arch"]), ("linux", "x86"));
    }

    #[test]
    fn a_repository_has_a_name_and_an_owner() {
        for (ci, variable, path, owner) in [
            ("GITHUB_ACTIONS", "GITHUB_REPOSITORY", "corp/tool", "corp"),
            ("GITLAB_CI", "CI_PROJECT_PATH", "corp/net/tool", "corp/net"),
        ] {
            let of = attributes_of(&[], &[(ci, "true"), (variable, path)], None);
            assert_eq!(
                (&*of["vcs.repository.name"], &*of["vcs.owner.name"]),
                ("tool", owner)
            );
        }
    }

    #[test]
    fn attributes_that_cannot_be_read_are_none() {
        let variables = [
            ("OTEL_RESOURCE_ATTRIBUTES", "team"),
            ("OTEL_SERVICE_NAME", "build"),
        ];
        let of = attributes_of(&[], &variables, None);
        assert_eq!(of["service.name"], "build");
    }
}
