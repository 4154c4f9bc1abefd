//! Datasets: files of many formats, in roots and object stores, asked with SQL and processed chunk
//! by chunk in bounded memory. The only crate that names DataFusion, Arrow and object stores.
