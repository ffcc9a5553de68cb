//! The built-in controllers, driven by `ApiServer::step`.

use crate::server::Controller;

/// All built-in controllers, in the order they are stepped.
pub fn built_in() -> Vec<Box<dyn Controller>> {
    Vec::new()
}
