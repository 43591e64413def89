//! What the daemon is to a server's streams, and nothing else: holds them through the shim, writes down every line that
//! comes, and sends numbered lines, until it is killed or everything is through. `tests/tests/ten_thousand.rs` kills it.
//!
//! What was taken care of may come again. The journal knows up to which place of the output it holds everything, and
//! nothing before that is written down twice.
//!
//! `holds_the_stream DIR OWNER GROUP SERVER TOTAL LIFE`: in `DIR` are the places of the shims, the container's id and the
//! journal; `SERVER` is what Python runs in the container, `TOTAL` how many lines are sent and awaited.
#![allow(clippy::disallowed_methods, reason = "an example reads its arguments and its environment")]

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use dtma_core::container::Launch;
use dtma_core::id::{ContainerId, OwnerId};
use dtma_core::port::ContainerRuntime;
use dtma_core::port::runtime::OutputStream;
use dtma_core::spec::PullPolicy;
use dtma_docker::DockerRuntime;
use dtma_shims::ShimRuntime;
use dtma_testing::sample;
use futures_util::StreamExt;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Lines sent that the server has not answered yet.
const AHEAD: u64 = 64;

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, owner, group, server, total, life] = args.as_slice() else {
        bail!("see the head of this file")
    };
    let (dir, owner) = (PathBuf::from(dir), OwnerId::from(owner.clone()));
    let runtime = runtime(&dir, &owner)?;
    let known = dir.join("container");
    let fresh = !known.exists();
    let (id, launch) = match fresh {
        true => create(&runtime, &owner, group, server).await?,
        false => (fs::read_to_string(&known)?.parse::<String>()?.into(), Launch::default()),
    };
    let attached = runtime.attach(&id).await?;
    if fresh {
        runtime.start(&id, &launch).await?;
        fs::write(known, id.as_str())?;
    }
    let journal = dir.join("journal");
    let (known, said) = taken_down(&journal)?;
    let journal = File::options().create(true).append(true).open(journal)?;
    let (life, total) = (life.clone(), total.parse()?);
    let holder = Holder { journal, known, life, total, next: None, heard: 0, said, over: false };
    holder.hold(attached).await
}

/// Up to which place the journal holds everything, and the last number that was said.
fn taken_down(journal: &Path) -> Result<(u64, u64)> {
    let journal = fs::read_to_string(journal).unwrap_or_default();
    let place = journal.lines().last().and_then(|line| line.rsplit_once('@'));
    let said = journal.lines().rev().find_map(|line| line.split_once(" said "));
    let number = |text: Option<(&str, &str)>| -> Result<u64> {
        let word = text.and_then(|(_, rest)| rest.split(' ').next());
        Ok(word.map(str::parse).transpose()?.unwrap_or(0))
    };
    Ok((number(place)?, number(said)?))
}

fn runtime(dir: &Path, owner: &OwnerId) -> Result<ShimRuntime> {
    let host = std::env::var("DOCKER_HOST").ok();
    let settings = dtma_docker::Settings { host, ..dtma_docker::Settings::new(owner.clone()) };
    let places =
        dtma_shims::Settings { owner: owner.clone(), state_dir: dir.to_owned(), runtime_dir: dir.to_owned() };
    Ok(ShimRuntime::open(&places, Arc::new(DockerRuntime::connect(settings)?))?)
}

async fn create(
    runtime: &ShimRuntime,
    owner: &OwnerId,
    group: &str,
    server: &str,
) -> Result<(ContainerId, Launch)> {
    let image = "dtma/mcp-fixture:dev";
    let facts = runtime.ensure_image(&image.into(), PullPolicy::Never, None, &|_| {}).await?;
    let mut config = sample::container_config(image);
    config.command = Some(["/usr/bin/python3", "-c", server].map(str::to_owned).into());
    (config.shim, config.isolation.init) = (true, false);
    let request = sample::create_container(owner, &sample::slot(group, "numbers"), config, &facts);
    let launch = Launch::of(&request.config, &request.config_hash, request.generation);
    Ok((runtime.create(&request).await?, launch))
}

struct Holder {
    journal: File,
    /// The place up to which it is complete.
    known: u64,
    life: String,
    total: u64,
    /// The next number to be sent, as soon as the server has said how far it is.
    next: Option<u64>,
    heard: u64,
    said: u64,
    /// The server told everything that it got, and it is in the journal.
    over: bool,
}

impl Holder {
    async fn hold(mut self, mut attached: dtma_core::port::runtime::Attached) -> Result<()> {
        let ask = format!("? {}\n", self.life);
        attached.input.send(Bytes::from(ask)).await?;
        let (mut rest, mut place) = (Vec::new(), None);
        let mut asked = false;
        while !self.over {
            // Whoever asks for more has taken care of what came before.
            let chunk = attached.output.next().await.context("the output ended")??;
            if chunk.stream == OutputStream::Stderr {
                bail!("the server complains: {}", String::from_utf8_lossy(&chunk.bytes));
            }
            let begin = *place.get_or_insert(chunk.offset.context("a shim counts its output")?);
            rest.extend_from_slice(&chunk.bytes);
            let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
            let lines: Vec<u8> = rest.drain(..whole).collect();
            place = Some(begin + lines.len() as u64);
            self.take(&String::from_utf8(lines)?, begin)?;
            while let Some(number) = self.next.filter(|next| *next <= self.total.min(self.heard + AHEAD)) {
                attached.input.send(Bytes::from(format!("{number}\n"))).await?;
                self.next = Some(number + 1);
            }
            if !asked && self.heard == self.total && self.said == self.total {
                attached.input.send(Bytes::from_static(b"report\n")).await?;
                asked = true;
            }
        }
        Ok(())
    }

    fn take(&mut self, lines: &str, begin: u64) -> Result<()> {
        let (mut place, mut noted, mut new) = (begin, String::new(), Vec::new());
        for line in lines.lines() {
            place += line.len() as u64 + 1;
            if place > self.known {
                noted.push_str(&format!("{} {line} @{place}\n", self.life));
                new.push(line);
            }
        }
        self.known = self.known.max(place);
        // In one piece: who is killed has written all of it or nothing.
        self.journal.write_all(noted.as_bytes())?;
        for line in new {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["said", number] => self.said = number.parse()?,
                ["heard", number] => self.heard = number.parse()?,
                // What an earlier life asked and did not hear says nothing of what was sent since.
                ["at", number, life] if *life == self.life => {
                    self.heard = number.parse()?;
                    self.next = Some(self.heard + 1);
                }
                ["at", ..] => {}
                ["got", ..] => self.over = true,
                _ => bail!("what is this: {line}"),
            }
        }
        Ok(())
    }
}
