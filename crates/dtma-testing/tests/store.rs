//! The store's suite over the store in memory, and what only that one can do.

use async_trait::async_trait;
use dtma_core::port::store::{StateStore, StoreError};
use dtma_core::record::Journal;
use dtma_testing::suite::store::StoreHarness;
use dtma_testing::{MemoryStore, MemoryStoreRemote, StoreCall, sample};

struct InMemory(MemoryStoreRemote);

#[async_trait]
impl StoreHarness for InMemory {
    async fn open(&self) -> Box<dyn StateStore> {
        Box::new(self.0.reopen())
    }
}

dtma_testing::store_suite!(InMemory(MemoryStore::new().1));

#[tokio::test]
async fn a_scripted_failure_changes_nothing_and_is_counted_as_a_call() {
    let (store, remote) = MemoryStore::new();
    remote.fail_once();
    let refused = store.put_group(&sample::group_record("g"), Journal::default()).await;
    assert!(matches!(refused, Err(StoreError::Io { .. })), "{refused:?}");
    assert_eq!(remote.state().groups, vec![]);
    assert_eq!(remote.calls(), vec![StoreCall::PutGroup(sample::group("g"))]);
    assert_eq!(store.put_group(&sample::group_record("g"), Journal::default()).await, Ok(()));
}
