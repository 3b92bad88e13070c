//! A real Prometheus that scrapes one target.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use modtape::clock::{Clock, Timestamp};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{LIMIT, Sandbox, Spawned, has_program, skipped};

/// A Prometheus that scrapes one target, four times a second; its job is `modtape`.
pub struct Prometheus {
    _running: Spawned,
    pub address: SocketAddr,
}

impl Prometheus {
    /// Starts one with these rules; `None`, with a line on stderr, where there is none.
    pub fn scraping(sandbox: &Sandbox, target: SocketAddr, rules: &[&Path]) -> Option<Self> {
        if !has_program("prometheus") {
            skipped("metrics: there is no prometheus");
            return None;
        }
        let config = sandbox.join("prometheus.yml");
        let rules: Vec<_> = rules.iter().map(|it| it.display().to_string()).collect();
        let text = format!(
            "global: {{scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}}\n\
             rule_files: {rules:?}\n\
             scrape_configs: [{{job_name: modtape, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        fs::write(&config, text).expect("our own folder");
        let mut command = sandbox.command("prometheus");
        command
            .arg("--config.file")
            .arg(&config)
            .arg("--storage.tsdb.path")
            .arg(sandbox.join("tsdb"));
        command.args([
            "--web.listen-address=127.0.0.1:0",
            "--enable-feature=exemplar-storage",
        ]);
        let running = Spawned::start(command);
        running.wait_for_stderr("ready to receive web requests");
        let said = running.wait_for_stderr("\"Listening on\" address=");
        let (_, after) = said
            .split_once("\"Listening on\" address=")
            .expect("it is told");
        let address = after.split_whitespace().next().expect("an address");
        let address = address.parse().expect("an address");
        Some(Self {
            _running: running,
            address,
        })
    }

    /// What its HTTP API answers to a path below `/api/v1/`.
    pub fn get(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        let request = format!("GET /api/v1/{path} HTTP/1.0\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        let answer: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// The labels and values that a query gives now.
    pub fn values(&self, query: &str) -> BTreeMap<String, f64> {
        let escaped = utf8_percent_encode(query, NON_ALPHANUMERIC);
        let data = self.get(&format!("query?query={escaped}"));
        let results = data["result"].as_array().expect("a list").iter();
        let values = results.map(|result| {
            let labels = result["metric"].as_object().expect("labels").iter();
            let labels = labels
                .filter(|(name, _)| !["job", "instance", "__name__"].contains(&name.as_str()));
            let labels = labels.map(|(_, value)| value.as_str().unwrap_or_default());
            let value = result["value"][1]
                .as_str()
                .expect("a number")
                .parse()
                .expect("a number");
            (labels.collect::<Vec<_>>().join(" "), value)
        });
        values.collect()
    }

    /// Waits until a query gives one number.
    #[track_caller]
    pub fn wait_for(&self, query: &str, number: f64) {
        until(|| {
            let values = self.values(query);
            let is_it = values.values().sum::<f64>() == number;
            is_it
                .then_some(())
                .ok_or_else(|| format!("{query}: {values:?}, not {number}"))
        });
    }
}

/// Waits until something is so.
#[track_caller]
pub fn until(mut is_so: impl FnMut() -> Result<(), String>) {
    let clock = Clock::start();
    while let Err(why) = is_so() {
        assert!(clock.now().since(Timestamp::default()) < LIMIT, "{why}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
