//! The topology as RabbitMQ's definitions file: what a fresh broker loads at boot. Pure.
//!
//! Beside exchanges, queues and bindings it holds a virtual host, users with the least permissions that do, and limits. The
//! passwords are for development and stand in the documentation; who deploys for real changes them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::topology::{Argument, Arguments, Topology};

/// The virtual host that the definitions put everything into.
pub const VHOST: &str = "redial";

/// A user of the definitions, with its documented password for development.
struct User {
    name: &'static str,
    password: &'static str,
    /// Fixed, so that the file is the same each time it is written.
    salt: [u8; 4],
    tags: &'static [&'static str],
    limits: Value,
}

/// The topology with users, permissions and limits, in the form that RabbitMQ imports.
pub fn export(topology: &Topology) -> Value {
    json!({
        "users": users().map(|user| user_entry(&user)),
        "vhosts": [{ "name": VHOST }],
        "permissions": permissions(topology.names.prefix()),
        "topic_permissions": [],
        "parameters": [{
            "component": "vhost-limits",
            "name": "limits",
            "vhost": VHOST,
            "value": { "max-connections": 1_000, "max-queues": 1_000 },
        }],
        "policies": [],
        "exchanges": exchanges(topology),
        "queues": queues(topology),
        "bindings": bindings(topology),
    })
}

/// The same as text: indented, in a stable order, with a line break at its end.
pub fn definitions_json(topology: &Topology) -> String {
    format!("{:#}\n", export(topology))
}

fn users() -> [User; 3] {
    [
        // Looks, gets and moves messages; `policymaker` is what moving takes, because it is done by a shovel.
        User {
            name: "operator",
            password: "operator-dev",
            salt: *b"oper",
            tags: &["monitoring", "policymaker"],
            limits: json!({}),
        },
        User {
            name: "publisher",
            password: "publisher-dev",
            salt: *b"publ",
            tags: &[],
            limits: json!({ "max-connections": 200, "max-channels": 1_000 }),
        },
        User { name: "redial", password: "redial-dev", salt: *b"redi", tags: &[], limits: json!({}) },
    ]
}

fn user_entry(user: &User) -> Value {
    json!({
        "name": user.name,
        "password_hash": password_hash(user.salt, user.password),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": user.tags,
        "limits": user.limits,
    })
}

fn password_hash(salt: [u8; 4], password: &str) -> String {
    let hash = Sha256::new().chain_update(salt).chain_update(password).finalize();
    STANDARD.encode([&salt[..], &hash].concat())
}

fn permissions(prefix: &str) -> Value {
    let prefix = prefix.replace('.', r"\.");
    let own = format!(r"^{prefix}\..*$");
    // Queues are written to by name through the default exchange, which permissions call amq.default.
    let own_and_default = format!(r"^({prefix}\..*|amq\.default)$");
    let submit = format!(r"^{prefix}\.submit$");
    let entry = |user: &str, configure: &str, write: &str, read: &str| json!({ "user": user, "vhost": VHOST, "configure": configure, "write": write, "read": read });
    json!([
        // Orders and moved messages go through the default exchange. Whoever may write to a queue by its own name may unbind it.
        entry("operator", "^$", r"^amq\.default$", &own),
        entry("publisher", "^$", &submit, "^$"),
        entry("redial", &own, &own_and_default, &own),
    ])
}

fn exchanges(topology: &Topology) -> Vec<Value> {
    let entry = |exchange: &super::topology::Exchange| {
        json!({
            "name": exchange.name,
            "vhost": VHOST,
            "type": exchange.kind.as_str(),
            "durable": true,
            "auto_delete": false,
            "internal": false,
            "arguments": arguments(&exchange.arguments),
        })
    };
    topology.exchanges.iter().map(entry).collect()
}

fn queues(topology: &Topology) -> Vec<Value> {
    let entry = |queue: &super::topology::Queue| {
        json!({
            "name": queue.name,
            "vhost": VHOST,
            "durable": true,
            "auto_delete": false,
            "arguments": arguments(&queue.arguments),
        })
    };
    topology.queues.iter().map(entry).collect()
}

fn bindings(topology: &Topology) -> Vec<Value> {
    let entry = |binding: &super::topology::Binding| {
        json!({
            "source": binding.exchange,
            "vhost": VHOST,
            "destination": binding.queue,
            "destination_type": "queue",
            "routing_key": binding.key,
            "arguments": {},
        })
    };
    topology.bindings.iter().map(entry).collect()
}

fn arguments(arguments: &Arguments) -> Value {
    let entry = |(name, value): (&&'static str, &Argument)| {
        let value = match value {
            Argument::Text(text) => json!(text),
            Argument::Number(number) => json!(number),
            Argument::Flag(flag) => json!(flag),
        };
        ((*name).to_owned(), value)
    };
    Value::Object(arguments.iter().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::topology::{Names, base_tiers};
    use super::*;

    fn topology(prefix: &str) -> Topology {
        Topology::new(Names::parse(prefix).unwrap(), &base_tiers(), &BTreeMap::new())
    }

    #[test]
    fn the_text_is_the_same_each_time_and_ends_with_a_line_break() {
        let text = definitions_json(&topology("redial"));
        assert_eq!(text, definitions_json(&topology("redial")));
        assert!(text.ends_with("}\n"));
    }

    #[test]
    fn a_publisher_may_write_to_the_entry_and_nothing_else() {
        let export = export(&topology("shop.eu"));
        let publisher = &export["permissions"][1];
        assert_eq!(publisher["user"], "publisher");
        assert_eq!(publisher["configure"], "^$");
        assert_eq!(publisher["read"], "^$");
        assert_eq!(publisher["write"], r"^shop\.eu\.submit$");
    }

    #[test]
    fn a_password_is_hashed_as_rabbitmq_does() {
        // From RabbitMQ's guide on passwords: salt 908D C60A, password "test12".
        let hash = password_hash([0x90, 0x8d, 0xc6, 0x0a], "test12");
        assert_eq!(hash, "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
    }
}
