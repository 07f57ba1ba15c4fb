//! billing-sqlite
