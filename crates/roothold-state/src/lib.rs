//! Roothold's own state: durable jobs with their checkpoints and results, and the heads of audit
//! chains. It knows no protocol, and nothing of what a job computes.
