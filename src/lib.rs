//! PrivyNet.
