//! The built-in tools: one file each, one line each below.

mod databases;
#[cfg(feature = "datasets")]
mod datasets;
mod find;
mod jobs;
mod many;
mod media;
pub(crate) mod page;
mod read;
mod scope;
mod table;
mod write;

use crate::catalog::Catalog;
use crate::databases::Databases;
#[cfg(feature = "datasets")]
use crate::datasets::Known;
use crate::long::AsJob;

pub(crate) use databases::SqlTools;
pub(crate) use media::media_type;

/// Adds the built-in tools for files, in the order in which clients list them.
pub(crate) fn add(catalog: &mut Catalog) {
    catalog.add(scope::ListRoots);
    catalog.add(scope::ListAllowedDirectories);
    catalog.add(find::ListDirectory);
    catalog.add(find::ListDirectoryWithSizes);
    catalog.add(find::DirectoryTree);
    catalog.add(find::SearchFiles);
    catalog.add(find::SearchContent);
    catalog.add(find::GetFileInfo);
    catalog.add(read::ReadTextFile);
    catalog.add(read::ReadFile);
    catalog.add(read::ReadMediaFile);
    catalog.add(read::ReadMultipleFiles);
    catalog.add(write::WriteFile);
    catalog.add(write::EditFile);
    catalog.add(write::CreateDirectory);
    catalog.add(write::MoveFile);
    catalog.add(write::DeleteFile);
    catalog.add(many::Batch);
}

/// Adds the tools for datasets, which know those that have names.
#[cfg(feature = "datasets")]
pub(crate) fn add_datasets(catalog: &mut Catalog, known: &Known) {
    catalog.add(datasets::ListDatasets(known.clone()));
    catalog.add(datasets::DescribeDataset(known.clone()));
    catalog.add(datasets::QueryDataset(known.clone()));
    catalog.add(datasets::ProcessLargeDataset(known.clone()));
}

/// Adds the tools for users' databases, which know those that are configured.
pub(crate) fn add_databases(catalog: &mut Catalog, databases: &Databases) {
    catalog.add(databases::ListDatabases);
    catalog.add(databases::DescribeSchema(databases.clone()));
    catalog.add(databases::QueryDatabase(databases.clone()));
    catalog.add(databases::ExplainQuery(databases.clone()));
    catalog.add(databases::ExecuteStatement(databases.clone()));
}

/// The tools by which jobs are looked at; tasks of the protocol are granted by the same names.
pub(crate) const GET_JOB: &str = "get_job";
pub(crate) const LIST_JOBS: &str = "list_jobs";
pub(crate) const CANCEL_JOB: &str = "cancel_job";

/// Adds the tools for jobs, once there is a tool that makes any.
pub(crate) fn add_for_jobs(catalog: &mut Catalog) {
    let makes_jobs = catalog.iter().any(|entry| entry.tool.as_job() != AsJob::Never);
    if makes_jobs && catalog.get(GET_JOB).is_none() {
        catalog.add(jobs::GetJob);
        catalog.add(jobs::ListJobs);
        catalog.add(jobs::CancelJob);
        crate::jobs::add(catalog);
    }
}
