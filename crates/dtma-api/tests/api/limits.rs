//! How often, and how many at once.

use crate::house::House;
use crate::wire::{exchange, read_answer};
use dtma_api::ServeLimits;
use dtma_api::limit::Rates;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

async fn limited(rates: Rates) -> House {
    House::with_all(ServeLimits::default(), None, rates, None).await
}

#[tokio::test]
async fn by_default_ten_changes_at_once_are_enough() {
    let house = limited(Rates::default()).await;
    for _ in 0..10 {
        assert_eq!(house.ask("DELETE", "/mcp/groups/nobody", None).await.status, 404);
    }
    let refused = house.ask("DELETE", "/mcp/groups/nobody", None).await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    let deploy = [("Authorization", "Bearer deploy")];
    let other = house.send("DELETE", "/mcp/groups/nobody", &deploy, "").await;
    assert_eq!(other.status, 404, "another token has a bucket of its own");
    assert_eq!(house.ask("GET", "/mcp/groups", None).await.status, 200, "looking is not limited");
}

#[tokio::test]
async fn guessing_tokens_is_limited_and_on_loopback_a_right_one_still_opens() {
    let house = limited(Rates { failures: "2/1h".parse().unwrap(), ..Rates::off() }).await;
    let guess = || house.send("GET", "/mcp/groups", &[("Authorization", "Bearer guess")], "");
    assert_eq!([guess().await.status, guess().await.status, guess().await.status], [401, 401, 429]);
    assert_eq!(house.ask("GET", "/mcp/groups", None).await.status, 200);
}

#[tokio::test]
async fn one_address_may_have_only_so_many_connections() {
    let house = House::with(ServeLimits { per_peer: 1, ..ServeLimits::default() }).await;
    let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut first = TcpStream::connect(house.address).await.unwrap();
    let mut second = TcpStream::connect(house.address).await.unwrap();
    let refused = read_answer(&mut second).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    first.write_all(request).await.unwrap();
    assert_eq!(read_answer(&mut first).await.status, 200);
    drop(first);
    // The seat is given back a moment after the answer.
    let again = async {
        while exchange(house.address, request).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(crate::wire::LONG, again).await.is_ok());
}
