//! User stories against any cluster.
