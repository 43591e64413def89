//! What the door adds to every message.

use super::*;
use crate::SessionId;
use crate::door::table::Route;

#[tokio::test(start_paused = true)]
async fn finding_the_member_of_a_session_allocates_nothing() {
    let (fleet, _a, _b) = Fleet::pair().await;
    let id = SessionId::parse(&fleet.client().await.id).unwrap();
    let mut found = 0;
    let spent = allocation_counter::measure(|| {
        for _ in 0..1000 {
            found += usize::from(fleet.door.is_ready());
            let route = fleet.door.table().route(id);
            found += usize::from(matches!(route, Route::To(_)));
        }
    });
    assert_eq!((found, spent.count_total), (2000, 0));
    let allocating = allocation_counter::measure(|| drop(vec![found]));
    assert_eq!(allocating.count_total, 1, "the counter counts");
}
