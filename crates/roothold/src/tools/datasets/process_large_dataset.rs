//! `process_large_dataset`: an operation over every row of a source of any size, chunk by chunk.

mod checkpoint;
mod input;
mod output;
mod report;
mod work;

use std::time::Instant;

use roothold_core::{Action, Actions, Fault, Verb};

use self::input::Input;
use self::output::Target;
use self::report::Report;
use self::work::Processing;
use super::tell;
use crate::call::Call;
use crate::datasets::{Known, Options, SourceArg, actions_of};
use crate::long::{AsJob, Long, Wish};
use crate::tool::{About, Effect, Permits, Tool};

pub(in crate::tools) struct ProcessLargeDataset(pub(in crate::tools) Known);

impl Tool for ProcessLargeDataset {
    const NAME: &'static str = "process_large_dataset";
    const AS_JOB: AsJob = AsJob::Maybe;
    const WRITES_BY: &'static [&'static str] = &["output", "format", "overwrite", "guard_formulas"];
    type Input = Input;
    type Output = Long<Report>;

    fn about(&self) -> About {
        About {
            title: "Process Large Dataset",
            description: "Works through a dataset of any size chunk by chunk and tells how far it is. Bad rows are listed.",
            effect: Effect::Writes { destructive: true, idempotent: true },
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        input.operation()?;
        let written = input.output()?.map(|path| Action::file(Verb::Write, path));
        actions_of([&SourceArg::parse(&input.data_source, &self.0)?], written)
    }

    async fn run(&self, call: Call, permits: Permits, input: Input) -> Result<Self::Output, Fault> {
        let began = Instant::now();
        let operation = input.operation.name();
        let done = process(&call, permits, input, &self.0).await;
        let bytes = |done: &Long<Report>| done.answer().map_or(0, Report::bytes);
        tell(&call, operation, began, &done, bytes);
        done
    }
}

async fn process(
    call: &Call,
    permits: Permits,
    input: Input,
    known: &Known,
) -> Result<Long<Report>, Fault> {
    let source = SourceArg::parse(&input.data_source, known)?;
    let operation = input.operation()?;
    let (overwrite, writes) = (input.overwrite.unwrap_or(false), input.output.is_some());
    let (bytes_max, about) = (input.bytes_max(call)?, input.about());
    let options = input.options.map(|Options(options)| options);
    let opening = call.clone();
    let (opened, permit) = call
        .blocking(move |budget| {
            let mut permits = permits.each();
            let opened = opening.datasets().open(&mut permits, &source, options, budget)?;
            let permit = if writes { permits.next().transpose()? } else { None };
            Ok((opened, permit))
        })
        .await?;
    let wish = Wish::new(input.background).long(call.is_long(opened.source.bytes())).about(about);
    let target = permit.map(|permit| Target::new(call, permit, overwrite)).transpose()?;
    if let Some(target) = target.as_ref().filter(|_| call.job().is_none()) {
        target.look_ahead(call).await?;
    }
    let begin = |resume| Processing::begin(call, opened, operation, target, bytes_max, resume);
    call.long(wish, |resume| async { begin(resume) }).await
}
