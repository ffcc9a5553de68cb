//! Plugins on the API server in memory: what they may, what they may not, and what becomes of everybody when they misbehave.

mod check;
mod docs;
mod faults;
mod hostile;
mod measured;
mod native;
mod outside;
mod reload;
mod removed;
mod squatting;
mod starving;
mod survey;
mod webhook;
mod world;
