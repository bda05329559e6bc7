//! The plumbing on real servers: what becomes of published messages, of unsettled deliveries, and of both when RabbitMQ goes away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use redial::broker::{ContentType, Declare, Delivery, HeaderValue, Message, Published};
use redial::clock::monotonic;
use tokio::sync::mpsc;

use crate::support::broker::{Plugins, PrivateBroker, TestBroker, amqp_admin, amqp_url, topology};
use crate::support::wait_for;

async fn start() -> TestBroker {
    TestBroker::start(topology(&[1_000], &[("sms", &["sms"])])).await
}

/// A message for the queue of replay orders, which nobody consumes but the test.
fn order(test: &TestBroker, body: &str) -> Message {
    Message::json("", test.names().replay(), body.as_bytes().to_vec())
}

fn stray(test: &TestBroker) -> Message {
    Message::json(test.names().delay(), "no-such-tier.sms", b"{}".to_vec())
}

async fn publish(test: &TestBroker, bodies: &[&str]) {
    let messages = bodies.iter().map(|body| order(test, body)).collect();
    let outcomes = test.broker.publish(messages).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Published::Confirmed), "{outcomes:?}");
}

fn consume(test: &TestBroker) -> mpsc::Receiver<Delivery> {
    test.broker.consume(&test.names().replay(), 16)
}

async fn next(deliveries: &mut mpsc::Receiver<Delivery>) -> Delivery {
    tokio::time::timeout(Duration::from_secs(60), deliveries.recv())
        .await
        .expect("a delivery in time")
        .unwrap()
}

fn body(delivery: &Delivery) -> &str {
    std::str::from_utf8(&delivery.body).unwrap()
}

async fn nothing_comes(deliveries: &mut mpsc::Receiver<Delivery>) {
    let came = tokio::time::timeout(Duration::from_millis(300), deliveries.recv()).await;
    assert!(came.is_err(), "{came:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_of_a_mixed_window_gets_its_own_outcome() {
    let test = Arc::new(start().await);
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let test = Arc::clone(&test);
            tokio::spawn(async move {
                let is_stray = |position: usize| position % 7 == task % 7;
                let messages =
                    (0..300).map(|at| if is_stray(at) { stray(&test) } else { order(&test, "{}") }).collect();
                let outcomes = test.broker.publish(messages).await;
                assert_eq!(outcomes.len(), 300);
                for (position, outcome) in outcomes.into_iter().enumerate() {
                    let expected =
                        if is_stray(position) { Published::Unroutable } else { Published::Confirmed };
                    assert_eq!(outcome, expected, "task {task}, message {position}");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_listens_for_is_confirmed_and_what_cannot_be_written_is_refused() {
    let test = start().await;
    let event = Message::json(test.names().events(), "call.succeeded.sms", b"{}".to_vec()).for_anybody();
    let endless = Message::json("", "q".repeat(256), Vec::new());
    let outcomes = test.broker.publish(vec![event, endless, order(&test, "{}")]).await;
    assert_eq!(outcomes, [Published::Confirmed, Published::Refused, Published::Confirmed]);
    assert_eq!(test.broker.publish(Vec::new()).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_arrives_as_it_was_published() {
    let test = start().await;
    let big: Vec<u8> = (0..300_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let mut message = Message::json("", test.names().replay(), big.clone())
        .with_header("traceparent", HeaderValue::Text("00-ab-cd-01".to_owned()))
        .with_header("x-count", HeaderValue::Number(-7));
    message.content_type = ContentType::Other("text/x-odd".to_owned());
    message.app_id = Some("billing".to_owned());
    assert_eq!(test.broker.publish(vec![message]).await, [Published::Confirmed]);
    let delivery = next(&mut consume(&test)).await;
    assert_eq!(delivery.body, big);
    assert_eq!(delivery.content_type(), Some("text/x-odd"));
    assert_eq!(delivery.app_id(), Some("billing"));
    assert_eq!(delivery.header("traceparent").as_deref(), Some("00-ab-cd-01"));
    assert_eq!(
        (delivery.header_number("x-count"), delivery.header("x-count").as_deref()),
        (Some(-7), Some("-7"))
    );
    assert_eq!(
        (delivery.user_id(), delivery.content_encoding(), delivery.header("none")),
        (None, None, None)
    );
    assert!(delivery.message_id().is_some_and(|id| id.len() == 36) && delivery.timestamp().is_some());
    assert_eq!(
        (delivery.exchange.as_str(), delivery.routing_key.as_str()),
        ("", test.names().replay().as_str())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_is_dropped_comes_again_and_an_acknowledged_one_does_not() {
    let test = start().await;
    publish(&test, &["a", "b", "c", "d"]).await;
    let mut deliveries = consume(&test);
    let (a, b, c) = (next(&mut deliveries).await, next(&mut deliveries).await, next(&mut deliveries).await);
    assert_eq!((body(&a), body(&b), body(&c)), ("a", "b", "c"));
    c.ack_through();
    drop((a, b));
    let d = next(&mut deliveries).await;
    assert_eq!((body(&d), d.redelivered), ("d", false));
    d.requeue();
    let d = next(&mut deliveries).await;
    assert_eq!((body(&d), d.redelivered), ("d", true));
    d.ack();
    nothing_comes(&mut deliveries).await;
    drop(deliveries);
    nothing_comes(&mut consume(&test)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dropped_consumer_has_not_taken_goes_to_the_next_one() {
    let test = start().await;
    let bodies: Vec<String> = (0..40).map(|at| at.to_string()).collect();
    publish(&test, &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut first = consume(&test);
    next(&mut first).await.ack();
    let held = next(&mut first).await;
    drop(first);
    let mut second = consume(&test);
    let mut seen = BTreeSet::new();
    while seen.len() < 38 {
        let delivery = next(&mut second).await;
        seen.insert(body(&delivery).to_owned());
        delivery.ack();
    }
    held.ack();
    nothing_comes(&mut second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_ends_consumers_while_publishing_and_acknowledging_go_on() {
    let test = start().await;
    publish(&test, &["a", "b"]).await;
    let mut deliveries = test.broker.consume(&test.names().replay(), 1);
    let a = next(&mut deliveries).await;
    test.stop.cancel();
    assert!(tokio::time::timeout(Duration::from_secs(10), deliveries.recv()).await.unwrap().is_none());
    a.ack();
    publish(&test, &["c"]).await;
    wait_for("b and c stand ready", || async {
        (test.broker.admin().ready(&test.names().replay()).await.unwrap() == Some(2)).then_some(())
    })
    .await;
    test.broker.close().await;
    assert_eq!(test.broker.publish(vec![order(&test, "d")]).await, [Published::Away]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_just_before_the_end_does_not_come_again() {
    let test = start().await;
    publish(&test, &["a", "b", "c"]).await;
    let mut deliveries = consume(&test);
    for _ in 0..3 {
        next(&mut deliveries).await.ack();
    }
    test.broker.close().await;
    let ready = amqp_admin().ready(&test.names().replay()).await.unwrap();
    assert_eq!(ready, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_with_strange_properties_is_delivered_like_any_other() {
    use lapin::types::{AMQPValue, FieldTable};

    let test = start().await;
    let connection =
        lapin::Connection::connect(amqp_url(), lapin::ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let mut nested = AMQPValue::Boolean(true);
    for _ in 0..100 {
        let mut table = FieldTable::default();
        table.insert("deeper".into(), nested);
        nested = AMQPValue::FieldTable(table);
    }
    let mut headers = FieldTable::default();
    headers.insert("deep".into(), nested);
    headers.insert("x-death".into(), AMQPValue::LongString("forged".into()));
    headers.insert("traceparent".into(), AMQPValue::LongString(vec![0xff, 0xfe].into()));
    let properties = lapin::BasicProperties::default()
        .with_headers(headers)
        .with_priority(255)
        .with_reply_to("amq.rabbitmq.reply-to.nowhere".into())
        .with_content_encoding("gzip".into());
    let options = lapin::options::BasicPublishOptions::default();
    let queue = test.names().replay();
    channel.basic_publish("".into(), queue.as_str().into(), options, b"odd", properties).await.unwrap();
    let delivery = next(&mut consume(&test)).await;
    assert_eq!((body(&delivery), delivery.content_encoding()), ("odd", Some("gzip")));
    assert_eq!((delivery.header("deep"), delivery.header("traceparent")), (None, None));
    assert_eq!((delivery.message_id(), delivery.timestamp(), delivery.content_type()), (None, None, None));
    connection.close(200, "OK".into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consuming_resumes_within_five_seconds_after_the_queue_was_deleted() {
    let test = start().await;
    let mut deliveries = consume(&test);
    publish(&test, &["a"]).await;
    next(&mut deliveries).await.ack();
    let mut gone = redial::broker::Topology::clone(&test.broker.topology());
    gone.exchanges.clear();
    gone.queues.retain(|queue| queue.name == test.names().replay());
    test.broker.admin().delete(&gone).await.unwrap();
    let deleted = monotonic();
    wait_for("the queue is there again", || async {
        let outcome = test.broker.publish(vec![order(&test, "b")]).await;
        (outcome == [Published::Confirmed]).then_some(())
    })
    .await;
    assert_eq!(body(&next(&mut deliveries).await), "b");
    assert!(deleted.elapsed() < Duration::from_secs(5), "{:?}", deleted.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_was_replaced_in_a_moment_is_consumed_again() {
    let test = start().await;
    let mut deliveries = test.broker.consume(&test.names().replay(), 1);
    publish(&test, &["old"]).await;
    next(&mut deliveries).await.ack();
    let mut replaced = redial::broker::Topology::clone(&test.broker.topology());
    replaced.exchanges.clear();
    replaced.bindings.clear();
    replaced.queues.retain(|queue| queue.name == test.names().replay());
    let admin = test.broker.admin();
    admin.delete(&replaced).await.unwrap();
    admin.apply(&replaced).await.unwrap();
    publish(&test, &["a", "b"]).await;
    let mut arrived = BTreeSet::new();
    while arrived.len() < 2 {
        let delivery = next(&mut deliveries).await;
        arrived.insert(body(&delivery).to_owned());
        delivery.ack();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_that_was_deleted_is_declared_again() {
    let test = start().await;
    let mut gone = redial::broker::Topology::clone(&test.broker.topology());
    gone.queues.clear();
    test.broker.admin().delete(&gone).await.unwrap();
    let ticket = || Message::json(test.names().delay(), "1s.sms", b"{}".to_vec());
    wait_for("the exchange is there again", || async {
        (test.broker.publish(vec![ticket()]).await == [Published::Confirmed]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_goes_on_after_rabbitmq_was_stopped_killed_and_cut_off() {
    let mut server = PrivateBroker::start(Plugins::None).await;
    server.stop().await;
    // It starts without RabbitMQ.
    let of_test = topology(&[1_000], &[("sms", &["sms"])]);
    let test = TestBroker::begin_at(&server.url(), of_test, Declare::Apply);
    let mut deliveries = consume(&test);
    assert!(test.broker.is_away());
    let asked = monotonic();
    assert_eq!(test.broker.publish(vec![order(&test, "lost")]).await, [Published::Away]);
    assert!(asked.elapsed() < Duration::from_secs(5));

    server.start_again().await;
    round_trip(&test, &mut deliveries, "after start").await;

    server.stop().await;
    wait_for("away after stop", || async { test.broker.is_away().then_some(()) }).await;
    server.start_again().await;
    round_trip(&test, &mut deliveries, "after stop").await;

    server.kill();
    wait_for("away after kill", || async { test.broker.is_away().then_some(()) }).await;
    server.start_again().await;
    round_trip(&test, &mut deliveries, "after kill").await;

    server.ctl(&["close_all_connections", "for the test"]).await;
    round_trip(&test, &mut deliveries, "after closing").await;
}

/// Publishes until one message is confirmed, and consumes it.
async fn round_trip(broker: &TestBroker, deliveries: &mut mpsc::Receiver<Delivery>, text: &str) {
    wait_for(text, || async {
        (broker.broker.publish(vec![order(broker, text)]).await == [Published::Confirmed]).then_some(())
    })
    .await;
    loop {
        let delivery = next(deliveries).await;
        let found = body(&delivery) == text;
        delivery.ack();
        if found {
            assert!(!broker.broker.is_away());
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_memory_alarm_publishing_fails_fast_and_acknowledging_goes_on() {
    let server = PrivateBroker::start(Plugins::None).await;
    let test = TestBroker::start_at(&server.url(), topology(&[1_000], &[("sms", &["sms"])])).await;
    publish(&test, &["before"]).await;
    server.ctl(&["set_vm_memory_high_watermark", "0.00001"]).await;
    wait_for("publishing is blocked", || async {
        // RabbitMQ blocks a connection at its first publish under the alarm.
        let outcome = test.broker.publish(vec![order(&test, "blocked")]).await;
        (outcome != [Published::Confirmed] && test.broker.is_away()).then_some(())
    })
    .await;
    assert_eq!(test.broker.publish(vec![order(&test, "lost")]).await, [Published::Away]);

    let mut deliveries = consume(&test);
    let before = next(&mut deliveries).await;
    assert_eq!(body(&before), "before");
    before.ack();
    drop(deliveries);
    wait_for("the acknowledgement is out", || async {
        (server
            .ctl(&["list_queues", "messages_unacknowledged", "--silent"])
            .await
            .trim()
            .lines()
            .all(|line| line.trim() == "0" || line.starts_with("messages")))
        .then_some(())
    })
    .await;

    server.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    wait_for("publishing goes on", || async { (!test.broker.is_away()).then_some(()) }).await;
    publish(&test, &["after"]).await;
}

#[tokio::test]
async fn an_encrypted_address_is_spoken_to_in_tls_and_never_in_the_clear() {
    use tokio::io::AsyncReadExt;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("amqps://guest:guest@127.0.0.1:{}/%2f", listener.local_addr().unwrap().port());
    let test = TestBroker::begin_at(&url, topology(&[1_000], &[]), Declare::Never);
    let (mut client, _) = listener.accept().await.unwrap();
    let mut hello = [0; 3];
    client.read_exact(&mut hello).await.unwrap();
    // A TLS handshake record. Without a certificate store among lapin's features it would be the bytes "AMQ".
    assert_eq!(hello[0], 0x16, "{hello:?}");
    drop((client, listener));
    assert!(test.broker.is_away());
}
