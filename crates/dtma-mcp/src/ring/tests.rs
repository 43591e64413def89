//! What the ring keeps and what its readers see.

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn write(writer: &LogWriter, seconds: std::ops::Range<i64>) {
    for second in seconds {
        writer.push(at(second), OutputStream::Stderr, format!("line {second}").as_bytes());
    }
}

async fn read(reader: &LogReader, query: LogQuery) -> Vec<i64> {
    reader.query(&query).map(|line| line.at.as_second()).collect().await
}

#[tokio::test]
async fn the_oldest_lines_go_first() {
    let (writer, reader) = ring(3, 1 << 20);
    write(&writer, 0..5);
    assert_eq!(read(&reader, LogQuery::default()).await, [2, 3, 4]);
}

#[tokio::test]
async fn bytes_are_bounded_too() {
    let (writer, reader) = ring(1000, 10 * (OVERHEAD + 6));
    write(&writer, 0..9);
    assert_eq!(read(&reader, LogQuery::default()).await.len(), 9);
    writer.push(at(9), OutputStream::Stdout, &[b'x'; 5 * (OVERHEAD + 6)]);
    assert!(read(&reader, LogQuery::default()).await.len() < 6);
}

#[tokio::test]
async fn tail_counts_only_what_was_asked_for() {
    let (writer, reader) = ring(100, 1 << 20);
    write(&writer, 0..10);
    let query = |tail, since: Option<i64>, until: Option<i64>| LogQuery {
        tail,
        since: since.map(at),
        until: until.map(at),
        follow: false,
    };
    assert_eq!(read(&reader, query(Some(2), None, None)).await, [8, 9]);
    assert_eq!(read(&reader, query(Some(2), None, Some(5))).await, [3, 4]);
    assert_eq!(read(&reader, query(None, Some(8), None)).await, [8, 9]);
    assert_eq!(read(&reader, query(Some(5), Some(8), None)).await, [8, 9]);
    assert_eq!(read(&reader, query(Some(0), None, None)).await, [0_i64; 0]);
}

#[tokio::test]
async fn a_follower_hears_of_new_lines_until_the_writer_ends() {
    let (writer, reader) = ring(10_000, 1 << 20);
    write(&writer, 0..3);
    let mut follower = reader.query(&LogQuery { tail: Some(1), follow: true, ..LogQuery::default() });
    assert_eq!(follower.next().await.unwrap().text, "line 2");
    write(&writer, 3..1003);
    drop(writer);
    let rest: Vec<i64> = follower.map(|line| line.at.as_second()).collect().await;
    assert_eq!(rest, (3..1003).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_slow_follower_misses_lines_and_goes_on() {
    let (writer, reader) = ring(2, 1 << 20);
    let mut follower = reader.query(&LogQuery { follow: true, ..LogQuery::default() });
    write(&writer, 0..10);
    assert_eq!(follower.next().await.unwrap().text, "line 8");
}

#[tokio::test]
async fn following_ends_at_until() {
    let (writer, reader) = ring(10, 1 << 20);
    write(&writer, 0..3);
    let query = LogQuery { until: Some(at(5)), follow: true, ..LogQuery::default() };
    let follower = reader.query(&query);
    write(&writer, 3..7);
    let seen: Vec<i64> = follower.map(|line| line.at.as_second()).collect().await;
    assert_eq!(seen, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn a_long_line_is_cut_and_broken_text_is_shown() {
    let (writer, reader) = ring(10, 1 << 20);
    writer.push(at(0), OutputStream::Stdout, &vec![b'x'; MAX_LINE + 7]);
    writer.push(at(1), OutputStream::Stdout, b"caf\xe9\r");
    let lines: Vec<String> = reader.query(&LogQuery::default()).map(|line| line.text).collect().await;
    assert!(lines[0].ends_with("x [7 bytes more]"));
    assert_eq!(lines[1], "caf\u{fffd}");
}
