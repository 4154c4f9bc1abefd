//! Many calls in one.

mod batch;

pub(super) use batch::Batch;
