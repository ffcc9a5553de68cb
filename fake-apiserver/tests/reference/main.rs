//! What a real kube-apiserver 1.36 answered, as data: the pure functions must give the same.

mod crd;
mod patch;
