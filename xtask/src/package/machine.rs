//! A machine that booted systemd: a fresh Debian in namespaces of its own, with an engine that nobody else uses.
//!
//! The engine runs outside and the machine sees its socket and shares its network: to a daemon inside it is the
//! engine of the machine. Both end, and what they wrote goes, when the value is dropped.

use crate::engine::{Engine, PrivateEngine, probe};
use crate::{apt, process, workspace};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const BOOT: &str = include_str!("boot.sh");
const MINUTES: Duration = Duration::from_secs(15 * 60);
const BOOTED: Duration = Duration::from_secs(60);
const SECONDS: Duration = Duration::from_secs(30);
/// What an operator's Debian has besides its essential packages, as far as the tests use it.
const PACKAGES: &str = "bash-completion,openssl,systemd-sysv";
/// Part of the name of the directory: to be raised when the Debian is to be made anew.
const EDITION: u32 = 1;

pub(crate) struct Machine {
    /// Dropped after the machine itself.
    _engine: OwnEngine,
    dir: PathBuf,
    cgroup: PathBuf,
    /// `unshare`, which takes its child, systemd, along.
    keeper: Child,
}

impl Machine {
    /// Boots one, with these images of `from` on its engine.
    ///
    /// # Errors
    /// Not root, or it does not come up.
    pub(crate) fn boot(from: &Engine, images: &[&str]) -> Result<Self> {
        if !workspace::is_root()? {
            bail!("to boot a machine takes root: run this as root");
        }
        let debian = debian()?;
        let dir = workspace::work_subdir("machine")?;
        let engine = OwnEngine::start()?;
        load(from, &engine.0, images)?;
        process::timed("boot a machine with systemd", || Self::start(engine, dir, &debian))
    }

    fn start(engine: OwnEngine, dir: PathBuf, debian: &Path) -> Result<Self> {
        let cgroup = own_cgroup()?;
        let script = dir.join("boot.sh");
        fs::write(&script, BOOT)?;
        let scratch = dir.join("scratch");
        fs::create_dir_all(&scratch)?;
        let log = File::create(dir.join("boot.log"))?;
        let mut command = Command::new("sh");
        // The shell joins the cgroup and becomes the keeper, whose child is rooted there.
        command.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]).arg(&cgroup);
        command.args(["nsenter", &format!("--net={}", engine.0.netns()?.display())]);
        command.args(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--cgroup"]);
        command.args(["sh".as_ref(), script.as_os_str(), debian.as_os_str(), scratch.as_os_str()]);
        command.arg(engine.0.socket()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let keeper = command.spawn().context("cannot start a machine")?;
        let machine = Self { _engine: engine, dir, cgroup, keeper };
        machine.wait_until_booted()?;
        Ok(machine)
    }

    /// systemd answers as soon as it listens, and with `--wait` when the boot is over; a unit that failed is shown where
    /// it matters.
    fn wait_until_booted(&self) -> Result<()> {
        let listens = "test -S /run/systemd/private";
        let up = probe::until(BOOTED, || {
            self.command("sh").is_ok_and(|mut sh| process::succeeds(SECONDS, sh.args(["-c", listens])))
        });
        if !up {
            eprintln!("{}", process::tail(&self.dir.join("boot.log")));
            bail!("no systemd came up within {} s", BOOTED.as_secs());
        }
        let state = "systemctl is-system-running --wait || systemctl --failed --no-legend --plain";
        let said = process::output(BOOTED, self.command("sh")?.args(["-c", state]))?;
        eprintln!("    systemd: {}", said.trim().replace('\n', "; "));
        Ok(())
    }

    /// A program inside, as root on its console.
    pub(crate) fn command(&self, program: &str) -> Result<Command> {
        let init = self.init().context("the machine is not there any more")?;
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &init.to_string(),
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            "--net",
            "--cgroup",
        ]);
        command.args(["env", "-i", "--chdir=/root", "HOME=/root", "LANG=C.UTF-8"]);
        command.args(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", program]);
        Ok(command)
    }

    /// Puts a file there.
    pub(crate) fn put(&self, from: &Path, to: &str, mode: &str) -> Result<()> {
        let file = File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
        let mut install = self.command("install")?;
        // Not through `process`: it gives programs nothing to read.
        let done = install.args(["-D", "-m", mode, "/dev/stdin", to]).stdin(file).status()?;
        if !done.success() {
            bail!("{} cannot be put to {to} in the machine", from.display());
        }
        Ok(())
    }

    /// Its PID 1, by the host's number.
    fn init(&self) -> Option<u32> {
        let keeper = self.keeper.id();
        let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Nothing of it is kept, so nothing has to end in order; what ended already is no failure.
        let init = self.init();
        init.map(|pid| process::signal(pid, "KILL"));
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
        let gone = || init.is_none_or(|pid| !Path::new(&format!("/proc/{pid}")).exists());
        probe::until(SECONDS, gone);
        probe::until(SECONDS, || remove_cgroups(&self.cgroup));
    }
}

/// The machine's engine, gone with all it has when dropped.
struct OwnEngine(PrivateEngine);

impl OwnEngine {
    fn start() -> Result<Self> {
        let engine = Self(PrivateEngine::apart(workspace::work_subdir("machine-engine")?)?);
        // Of a run that was killed.
        engine.0.remove()?;
        engine.0.start()?;
        Ok(engine)
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        if let Err(error) = self.0.remove() {
            eprintln!("    the machine's engine could not be cleared away: {error:#}");
        }
    }
}

/// A fresh Debian, the one this machine runs, from where its packages come from.
fn debian() -> Result<PathBuf> {
    let (site, codename) = apt::origin()?;
    let dir = workspace::made_once(&format!("debian-{codename}-{EDITION}"), |dir| {
        if workspace::find_program("debootstrap").is_none() {
            apt::install(&["debootstrap"])?;
        }
        let mut command = Command::new("debootstrap");
        command.args(["--variant=minbase", &format!("--include={PACKAGES}"), &codename]);
        process::quiet("make a fresh Debian", MINUTES, command.arg(dir.join("root")).arg(&site))?;
        furnish(&dir.join("root"))
    })?;
    Ok(dir.join("root"))
}

/// Nothing can be fetched from inside, so nothing is to be looked for; nobody is there to answer apt; and apt is not to
/// be at work by itself.
fn furnish(root: &Path) -> Result<()> {
    fs::remove_dir_all(root.join("var/lib/apt/lists"))?;
    for deb in fs::read_dir(root.join("var/cache/apt/archives"))? {
        let path = deb?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            fs::remove_file(path)?;
        }
    }
    fs::write(root.join("etc/apt/sources.list"), "")?;
    fs::write(root.join("etc/apt/apt.conf.d/90test"), "APT::Get::Assume-Yes \"true\";\n")?;
    for timer in ["apt-daily.timer", "apt-daily-upgrade.timer"] {
        symlink("/dev/null", root.join("etc/systemd/system").join(timer))?;
    }
    fs::write(root.join("etc/hostname"), "machine\n")?;
    // Made anew at boot.
    Ok(fs::write(root.join("etc/machine-id"), "")?)
}

fn load(from: &Engine, to: &PrivateEngine, images: &[&str]) -> Result<()> {
    let archive = workspace::work_subdir("machine")?.join("images.tar");
    process::timed(&format!("copy {} to the machine's engine", images.join(" ")), || {
        process::output(MINUTES, from.docker()?.args(["save", "--output"]).arg(&archive).args(images))?;
        process::output(MINUTES, to.as_engine().docker()?.args(["load", "--input"]).arg(&archive))
    })?;
    Ok(fs::remove_file(archive)?)
}

/// A cgroup of the second kind, in a tree that is mounted already or is mounted for it.
fn own_cgroup() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let field = |line: &str, number| line.split(' ').nth(number).map(str::to_owned);
    let second = mounts.lines().find(|line| field(line, 2).as_deref() == Some("cgroup2"));
    let tree = match second.and_then(|line| field(line, 1)) {
        Some(tree) => PathBuf::from(tree),
        None => mount_tree()?,
    };
    let cgroup = tree.join(format!("dtma-machine-{}", std::process::id()));
    fs::create_dir(&cgroup).with_context(|| format!("cannot make the cgroup {}", cgroup.display()))?;
    Ok(cgroup)
}

fn mount_tree() -> Result<PathBuf> {
    let tree = workspace::work_subdir("cgroup2")?;
    process::output(SECONDS, Command::new("mount").args(["-t", "cgroup2", "cgroup2"]).arg(&tree))?;
    Ok(tree)
}

/// The innermost first; false as long as one is in use.
fn remove_cgroups(cgroup: &Path) -> bool {
    let below = fs::read_dir(cgroup).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in below.filter(|path| path.is_dir()) {
        remove_cgroups(&path);
    }
    fs::remove_dir(cgroup).is_ok() || !cgroup.exists()
}
