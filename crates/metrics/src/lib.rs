//! dynlayer metrics
