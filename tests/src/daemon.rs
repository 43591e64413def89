//! The real daemon as a process of its own: started, killed without warning, started again on the same state.

use crate::rest::{Answer, Rest};
use crate::{binaries, engine};
use dtma_client::Client;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a daemon may take until it listens.
const START: Duration = Duration::from_secs(20);
/// Lines of its log that a failing test shows.
const LOG_TAIL: usize = 120;
/// How long a daemon may take to end after SIGTERM.
const END: Duration = Duration::from_secs(20);

/// How a daemon is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Where it keeps its state and its log.
    pub dir: PathBuf,
    /// What must be sent to it.
    pub token: String,
    /// Its engine, when not the one of the environment.
    pub docker_host: Option<String>,
    /// `POINT:before|after[:N]`: where it ends itself as a `kill -9` would.
    pub failpoint: Option<String>,
    /// 0 takes a free one.
    pub port: u16,
    /// Whether servers get the shim; `None`: as [`shims`] says.
    pub shims: Option<bool>,
    /// Further words of its command line.
    pub args: Vec<String>,
    /// Further variables of its environment.
    pub env: Vec<(String, String)>,
    /// Another build of it than the usual one.
    pub program: Option<PathBuf>,
}

/// Whether daemons begin servers by the shim where a test does not care: `DTMA_TEST_SHIMS=off` runs the whole suite
/// without.
#[must_use]
pub fn shims() -> bool {
    std::env::var("DTMA_TEST_SHIMS").as_deref() != Ok("off")
}

/// A running daemon. Dropping it kills it.
pub struct Daemon {
    launch: Launch,
    child: Child,
    url: String,
}

impl Launch {
    /// A daemon whose state is in `dir`, on the engine of the environment.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            token: uuid::Uuid::new_v4().to_string(),
            docker_host: engine::host(),
            failpoint: None,
            port: 0,
            shims: None,
            args: Vec::new(),
            env: Vec::new(),
            program: None,
        }
    }

    /// Starts it and waits until it listens. A port that was free a moment ago may just be in use as somebody's
    /// own end of a connection, so a daemon that ends at once is started again within the deadline.
    #[must_use]
    pub fn start(self) -> Daemon {
        let deadline = Instant::now() + START;
        loop {
            match self.clone().try_start() {
                Ok(daemon) => return daemon,
                Err(problem) if Instant::now() > deadline => {
                    panic!("the daemon does not start: {problem}\n{}", self.log())
                }
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    fn try_start(self) -> Result<Daemon, String> {
        let mut child = self.command().spawn().map_err(|error| error.to_string())?;
        let stdout = child.stdout.take().expect("its standard output is a pipe");
        match listening(stdout) {
            Some(url) => Ok(Daemon { launch: self, child, url }),
            None => {
                // Its end closed the pipe; being killed is for one that only closed it.
                let _ = child.kill();
                Err(format!("{}", child.wait().expect("reap the daemon")))
            }
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program.clone().unwrap_or_else(binaries::daemon));
        let state = self.dir.join("state");
        command.args(["--listen", &format!("127.0.0.1:{}", self.port), "--state-dir"]).arg(state);
        command.arg("--runtime-dir").arg(self.dir.join("run"));
        command.args(["--shims", if self.shims.unwrap_or_else(shims) { "on" } else { "off" }]);
        command.args(&self.args);
        if let Some(host) = &self.docker_host {
            command.args(["--docker-host", host]);
        }
        // A whole environment of its own: what the caller has set must not decide a test.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        // Tests ask more often than a person would.
        command.env("DTMA_RATE_MUTATIONS", "off").env("DTMA_RATE_FAILURES", "off");
        command
            .env("DTMA_BEARER_TOKEN", &self.token)
            .env("DTMA_LOG", "info,access=error")
            .env("RUST_BACKTRACE", "1");
        command.envs(self.env.iter().cloned());
        if let Some(failpoint) = &self.failpoint {
            command.env("DTMA_FAILPOINT", failpoint);
        }
        let log = File::options().create(true).append(true).open(self.log_file()).expect("the daemon's log");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        command
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join("daemon.log")
    }

    fn log(&self) -> String {
        let text = String::from_utf8_lossy(&std::fs::read(self.log_file()).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
    }
}

/// The URL of the line `listening on http://127.0.0.1:PORT`. What comes after it is read by a thread of its own,
/// so that the daemon never waits for a reader.
fn listening(stdout: impl std::io::Read + Send + 'static) -> Option<String> {
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let url = lines.find_map(|line| line.split("listening on ").nth(1).map(|url| url.trim().to_owned()));
    std::thread::spawn(move || lines.for_each(drop));
    url
}

impl Daemon {
    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What must be sent to it.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.launch.token
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it keeps its state and its log.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.launch.dir
    }

    /// The end of its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.launch.log()
    }

    /// The typed client of it.
    #[must_use]
    pub fn client(&self) -> Client {
        let builder = Client::builder(&self.url).token(self.launch.token.as_str().into());
        builder.timeout(Duration::from_secs(60)).build().expect("a client")
    }

    /// Plain HTTP with its token.
    #[must_use]
    pub fn rest(&self) -> Rest {
        Rest::new(&self.url, Some(&self.launch.token))
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> Answer {
        self.rest().get(path).await
    }

    /// Ends it as the kernel ends a process: without warning.
    pub fn kill9(&mut self) {
        self.child.kill().expect("kill the daemon");
        self.child.wait().expect("reap the daemon");
    }

    /// Starts it anew on the same state and the same port, without a failpoint.
    pub fn start_again(&mut self) {
        self.start_again_with(None);
    }

    /// The same with other variables in its environment.
    pub fn start_again_in(&mut self, env: Vec<(String, String)>) {
        self.launch.env = env;
        self.start_again();
    }

    /// The same with a failpoint armed.
    pub fn start_again_with(&mut self, failpoint: Option<&str>) {
        if self.child.try_wait().expect("wait").is_none() {
            self.kill9();
        }
        let port = self.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port in the url");
        let launch = Launch { failpoint: failpoint.map(str::to_owned), port, ..self.launch.clone() };
        *self = launch.start();
    }

    /// Asks it to end and waits until it has.
    pub async fn terminate(&mut self) -> ExitStatus {
        let sent = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.pid())]).status();
        assert!(sent.expect("sh").success(), "the daemon is not there to be ended");
        self.ended_within(END)
            .await
            .unwrap_or_else(|| panic!("it does not end after SIGTERM\n{}", self.log()))
    }

    /// How it ended, when it does within `patience`.
    pub async fn ended_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return Some(status);
            }
            if Instant::now() > deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the daemon's log ---\n{}\n---", self.log());
        }
    }
}
