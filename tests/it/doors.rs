//! The doors of the service, as publishers, operators and programs find them: HTTP, AMQP, queues, the command line.
//!
//! Black box: the service runs in this process with everything it has in production; tests speak to it from outside.

mod amqp_intake;
mod callbacks;
mod check_against;
mod client_commands;
mod client_in_person;
mod command_line;
mod command_line_servers;
mod erasing;
mod forged_tickets;
mod holds;
mod http_bad_input;
mod http_batch;
mod http_raw;
mod http_submit;
mod lists;
mod operators;
mod prefer_wait;
mod rejected;
mod retention;
mod review;
mod review_queues;
mod server_life;
mod statistics;
mod take_over;
