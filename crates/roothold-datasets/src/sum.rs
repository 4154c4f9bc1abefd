//! Sums that are right or refused: what is too large for the type of a sum is an error, never a number
//! that wrapped around.
//!
//! It is the engine's `sum` in all but how it adds. Its states are those of the engine's, so
//! that checkpoints hold.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, FieldRef, Int64Type,
    UInt64Type,
};
use datafusion::common::Result;
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, SetMonotonicity,
    Signature,
};

mod grouped;
mod one;

use grouped::Grouped;
use one::{Distinct, One};

/// The function `sum`.
pub(crate) fn sum_udaf() -> Arc<AggregateUDF> {
    static SUM: LazyLock<Arc<AggregateUDF>> =
        LazyLock::new(|| Arc::new(AggregateUDF::from(CheckedSum::default())));
    Arc::clone(&SUM)
}

#[derive(Debug, Default, PartialEq, Eq, Hash)]
struct CheckedSum {
    inner: Sum,
}

/// Does `$make` with the arrow type of a sum that can overflow, or `$otherwise`.
macro_rules! by_type {
    ($kind:expr, $make:ident, $otherwise:expr) => {
        match $kind {
            DataType::Int64 => $make!(Int64Type),
            DataType::UInt64 => $make!(UInt64Type),
            DataType::Decimal32(..) => $make!(Decimal32Type),
            DataType::Decimal64(..) => $make!(Decimal64Type),
            DataType::Decimal128(..) => $make!(Decimal128Type),
            DataType::Decimal256(..) => $make!(Decimal256Type),
            _ => $otherwise,
        }
    };
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        self.inner.return_type(kinds)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let kind = args.return_field.data_type().clone();
        macro_rules! make {
            ($kind:ty) => {
                if args.is_distinct {
                    Ok(Box::new(Distinct::<$kind>::new(self.inner.accumulator(args)?, kind)))
                } else {
                    Ok(Box::new(One::<$kind>::new(kind)))
                }
            };
        }
        by_type!(kind, make, self.inner.accumulator(args))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let kind = args.return_field.data_type().clone();
        if args.is_distinct {
            return self.inner.create_sliding_accumulator(args);
        }
        macro_rules! make {
            ($kind:ty) => {
                Ok(Box::new(One::<$kind>::new(kind)))
            };
        }
        by_type!(kind, make, self.inner.create_sliding_accumulator(args))
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let kind = args.return_field.data_type().clone();
        macro_rules! make {
            ($kind:ty) => {
                Ok(Box::new(Grouped::<$kind>::new(kind)))
            };
        }
        by_type!(kind, make, self.inner.create_groups_accumulator(args))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_expr()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn set_monotonicity(&self, kind: &DataType) -> SetMonotonicity {
        self.inner.set_monotonicity(kind)
    }
}

#[cfg(test)]
mod tests;
