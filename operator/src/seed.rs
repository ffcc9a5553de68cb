//! Numbers that look random and are a function of a seed: whatever is drawn from them can be replayed.

use jiff::SignedDuration;

/// A generator (`SplitMix64`); small, and good enough for jitter and for choosing histories.
#[derive(Clone, Debug)]
pub struct Seed(pub u64);

impl Seed {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.draw() % limit as u64) as usize
    }

    /// A duration between 80 % and 120 % of the given one.
    pub fn spread(&mut self, around: SignedDuration) -> SignedDuration {
        let millis = around.as_millis() as i64;
        let per_mille = 800 + (self.draw() % 401) as i64;
        SignedDuration::from_millis(millis / 1000 * per_mille + millis % 1000 * per_mille / 1000)
    }
}
