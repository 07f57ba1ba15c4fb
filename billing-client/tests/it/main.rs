//! The clients against a real HTTP server on loopback, which fails in every way that a network does.

mod breaker;
mod contract;
mod faults;
mod flutterwave;
mod identity;
mod kit;
mod paystack;
mod retries;
mod server;
mod tls;
mod webhooks;
