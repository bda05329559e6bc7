//! The doors of the service, as publishers, operators and programs find them: HTTP, AMQP, queues, the command line.
//!
//! Black box: the service runs in this process with everything it has in production; tests speak to it from outside.

mod amqp_intake;
mod http_bad_input;
mod http_submit;
