//! Who the spans are of: the attributes of their resource, from the recording and the environment.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::resource::v1::Resource;
use percent_encoding::percent_decode_str;

use super::spans::text;
use super::variables::{SettingError, Variables};
use crate::recording::format::Manifest;
use crate::redact::url_without_secrets;

/// The variables of CI systems that are read, each with the attribute that it becomes.
const CI: [(&str, &str); 20] = [
    // GitHub Actions, and what is compatible with it.
    ("GITHUB_REPOSITORY", "vcs.repository.name"),
    ("GITHUB_REF_NAME", "vcs.ref.head.name"),
    ("GITHUB_REF_TYPE", "vcs.ref.head.type"),
    ("GITHUB_SHA", "vcs.ref.head.revision"),
    ("GITHUB_WORKFLOW", "cicd.pipeline.name"),
    ("GITHUB_RUN_ID", "cicd.pipeline.run.id"),
    ("GITHUB_JOB", "cicd.pipeline.task.name"),
    ("RUNNER_NAME", "cicd.worker.name"),
    // GitLab CI.
    ("CI_PROJECT_URL", "vcs.repository.url.full"),
    ("CI_PROJECT_PATH", "vcs.repository.name"),
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
const PARTS: [&str; 3] = ["GITHUB_ACTIONS", "GITHUB_SERVER_URL", "GITLAB_CI"];

/// Whether a variable is read here or by the settings of OTLP.
pub(crate) fn is_read(name: &str) -> bool {
    name.starts_with("OTEL_")
        || PARTS.contains(&name)
        || CI.iter().any(|(variable, _)| *variable == name)
}

/// The resource of a recording's spans. What the variables of OpenTelemetry say wins.
pub(crate) fn resource(
    manifest: &Manifest,
    variables: &Variables,
    host: Option<&str>,
) -> Result<Resource, SettingError> {
    let mut attributes: BTreeMap<&str, String> = BTreeMap::new();
    attributes.insert("service.name", String::from("modtape"));
    if let Some(version) = manifest.tool.strip_prefix("modtape ") {
        attributes.insert("service.version", version.to_owned());
    }
    if let Some(host) = host {
        attributes.insert("host.name", host.to_owned());
    }
    let go = |name: &str| manifest.go_env.get(name).filter(|value| !value.is_empty());
    if let Some(os) = go("GOOS") {
        attributes.insert("os.type", os.clone());
    }
    if let Some(architecture) = go("GOARCH") {
        let architecture = match &**architecture {
            "386" => "x86",
            "arm" => "arm32",
            other => other,
        };
        attributes.insert("host.arch", architecture.to_owned());
    }
    add_ci(&mut attributes, variables);
    let own = variables.get("OTEL_RESOURCE_ATTRIBUTES");
    let own = own.map_or_else(|| Ok(Vec::new()), |list| listed(list))?;
    for (name, value) in &own {
        attributes.insert(name, value.clone());
    }
    if let Some(name) = variables.get("OTEL_SERVICE_NAME") {
        attributes.insert("service.name", name.clone());
    }
    let attributes = attributes.iter().map(|(name, value)| text(name, value));
    Ok(Resource {
        attributes: attributes.collect(),
        ..Resource::default()
    })
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
    if is("GITLAB_CI") {
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
