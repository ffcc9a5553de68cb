//! Plugins on the API server in memory: what they may, what they may not, and what becomes of everybody when they misbehave.

mod docs;
mod faults;
mod native;
mod outside;
mod reload;
mod webhook;
mod world;
