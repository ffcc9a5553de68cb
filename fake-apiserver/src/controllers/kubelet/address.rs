//! Pod addresses from 10.244.0.0/16: the next free one, so that an address is not used again soon.

use std::collections::BTreeSet;

/// The addresses of simulated pods.
#[derive(Debug)]
pub(crate) struct Addresses {
    used: BTreeSet<u16>,
    next: u16,
}

impl Default for Addresses {
    fn default() -> Self {
        Self { used: BTreeSet::new(), next: 1 }
    }
}

impl Addresses {
    /// Takes an address; `None` when all 65,000 are taken.
    pub(crate) fn take(&mut self) -> Option<u16> {
        for _ in 0..=u16::MAX {
            self.next = self.next.wrapping_add(1);
            // No host number that looks like a network or a broadcast address.
            let host = self.next & 0xff;
            if host != 0 && host != 255 && self.used.insert(self.next) {
                return Some(self.next);
            }
        }
        None
    }

    /// Gives an address back.
    pub(crate) fn free(&mut self, address: u16) {
        self.used.remove(&address);
    }
}

/// The address as text.
pub(crate) fn text(address: u16) -> String {
    format!("10.244.{}.{}", address >> 8, address & 0xff)
}
