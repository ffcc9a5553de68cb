//! The same as `scale` with mimalloc in place of the system's allocator: `cargo xtask bench allocators`.

mod scale;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    scale::main();
}
