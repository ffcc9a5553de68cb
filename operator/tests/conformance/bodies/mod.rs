//! The bodies, one for each sentence of the contract in `store/mod.rs`.

mod applies;
mod deletes;
mod kinds;
mod reads;
pub(crate) mod support;
mod watches;
mod writes;

use dask_operator::store::Store;
use futures::future::LocalBoxFuture;

/// One body: a store with the four CRDs installed, and a namespace of its own.
pub(crate) type Body = for<'a> fn(&'a dyn Store, &'a str) -> LocalBoxFuture<'a, ()>;

/// Names the bodies of this module as a table.
macro_rules! table {
    ($($name:ident),+ $(,)?) => {
        pub(super) const BODIES: &[(&str, crate::bodies::Body)] =
            &[$((stringify!($name), |store, namespace| Box::pin($name(store, namespace)))),+];
    };
}
use table;

pub(crate) fn all() -> Vec<(&'static str, Body)> {
    [reads::BODIES, writes::BODIES, applies::BODIES, deletes::BODIES, watches::BODIES, kinds::BODIES].concat()
}
