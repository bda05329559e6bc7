//! The delay transport on RabbitMQ: TTL tiers, dead-lettering, lanes.
