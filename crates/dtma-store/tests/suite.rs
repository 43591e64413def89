//! The behaviour every store has, over the real file: each step opens it anew, as a daemon does at its start.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a broken test should stop where it broke"
)]

use async_trait::async_trait;
use dtma_core::port::store::StateStore;
use dtma_store::RedbStore;
use dtma_testing::suite::store::StoreHarness;
use tempfile::TempDir;

struct OnDisk(TempDir);

impl OnDisk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

#[async_trait]
impl StoreHarness for OnDisk {
    async fn open(&self) -> Box<dyn StateStore> {
        Box::new(RedbStore::open(self.0.path()).unwrap())
    }
}

dtma_testing::store_suite!(OnDisk::new());
