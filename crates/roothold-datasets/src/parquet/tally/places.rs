//! Which group a row belongs to, by the numbers that its texts have in dictionaries.
//!
//! Each dictionary has numbers of its own. So each text that any of them holds gets one number, and
//! each set of these that rows have is a group. For the dictionaries at hand there is a table with a
//! place for every set of their own numbers, if that is not too large.

use std::collections::HashMap;

use datafusion::arrow::array::{Array as _, ArrayData, ArrayRef, AsArray as _, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{Int32Type, Schema};
use datafusion::common::hash_utils::RandomState;
use datafusion::error::{DataFusionError, Result};

/// The most columns of keys.
pub(super) const KEYS_MAX: usize = 4;
/// The most places of a table: 4 MiB.
const TABLE_MAX: u64 = 1 << 20;
/// In a table: no row had this set yet.
const NONE: u32 = u32::MAX;
/// What a map takes for each entry besides it, about.
const ENTRY_BYTES: usize = 16;

/// The numbers of the texts of one group; those behind the last column are 0.
type Group = [u32; KEYS_MAX];

/// The groups that were found.
pub(super) struct Places {
    texts: Vec<Texts>,
    numbers: HashMap<Group, u32, RandomState>,
    groups: Vec<Group>,
    local: Option<Local>,
    /// For each row of a batch.
    rows: Vec<usize>,
    cells: Vec<u32>,
}

/// The groups of a batch's rows, and how many there are altogether.
pub(super) struct Placed<'a> {
    pub(super) rows: &'a [usize],
    pub(super) groups: usize,
}

/// The texts of one column that were found.
#[derive(Default)]
struct Texts {
    numbers: HashMap<Option<Box<str>>, u32, RandomState>,
    all: Vec<Option<Box<str>>>,
    bytes: usize,
}

/// What holds for the dictionaries at hand.
struct Local {
    columns: Vec<Dictionary>,
    table: Option<Vec<u32>>,
}

struct Dictionary {
    data: ArrayData,
    /// The numbers of its texts, and behind them that of no text.
    numbers: Vec<u32>,
}

impl Texts {
    fn number(&mut self, text: Option<&str>) -> u32 {
        let text: Option<Box<str>> = text.map(Into::into);
        if let Some(number) = self.numbers.get(&text) {
            return *number;
        }
        self.bytes += 2 * text.as_ref().map_or(0, |text| text.len());
        // Groups are given away long before there are so many.
        let number = u32::try_from(self.all.len()).unwrap_or(NONE);
        self.all.push(text.clone());
        self.numbers.insert(text, number);
        number
    }

    fn bytes(&self) -> usize {
        self.bytes + self.all.len() * (3 * size_of::<Option<Box<str>>>() + ENTRY_BYTES)
    }
}

impl Places {
    pub(super) fn new(columns: usize) -> Self {
        Self {
            texts: (0..columns).map(|_| Texts::default()).collect(),
            numbers: HashMap::default(),
            groups: Vec::new(),
            local: None,
            rows: Vec::new(),
            cells: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// What it holds in memory.
    pub(super) fn bytes(&self) -> usize {
        let texts: usize = self.texts.iter().map(Texts::bytes).sum();
        let groups = self.groups.len() * (2 * size_of::<Group>() + ENTRY_BYTES);
        texts + groups + self.local.as_ref().map_or(0, Local::bytes)
    }

    /// Finds the groups of rows, whose keys are columns of dictionaries.
    ///
    /// # Errors
    /// The file has numbers that its dictionaries do not have.
    pub(super) fn of(&mut self, keys: &[&ArrayRef], rows: usize) -> Result<Placed<'_>> {
        if !self.local.as_ref().is_some_and(|local| local.is_of(keys)) {
            self.local = Some(Local::new(keys, &mut self.texts));
        }
        let Self { numbers, groups, local, .. } = self;
        let Some(Local { columns, table }) = local else { return Err(not_there()) };
        let mut group_of = |row: usize| -> Result<u32> {
            let mut group = Group::default();
            for ((number, column), keys) in group.iter_mut().zip(&*columns).zip(keys) {
                let keys = keys.as_dictionary::<Int32Type>().keys();
                let key = if keys.is_null(row) { None } else { Some(keys.value(row)) };
                *number = column.number(key)?;
            }
            let new = u32::try_from(groups.len()).unwrap_or(NONE);
            let number = *numbers.entry(group).or_insert(new);
            if number == new {
                groups.push(group);
            }
            Ok(number)
        };
        self.rows.clear();
        if let Some(table) = table {
            cells_of(columns, keys, rows, &mut self.cells);
            for (row, cell) in self.cells.iter().enumerate() {
                let place = table.get_mut(*cell as usize).ok_or_else(not_there)?;
                if *place == NONE {
                    *place = group_of(row)?;
                }
                self.rows.push(*place as usize);
            }
        } else {
            for row in 0..rows {
                self.rows.push(group_of(row)? as usize);
            }
        }
        Ok(Placed { rows: &self.rows, groups: self.groups.len() })
    }

    /// The texts of all groups: the first columns of `schema`, with its types.
    ///
    /// # Errors
    /// Those of the types.
    pub(super) fn texts(&self, schema: &Schema) -> Result<Vec<ArrayRef>> {
        let columns = self.texts.iter().enumerate().map(|(column, texts)| {
            let of_group = |group: &Group| texts.all[group[column] as usize].as_deref();
            let all: StringArray = self.groups.iter().map(of_group).collect();
            Ok(cast(&all, schema.field(column).data_type())?)
        });
        columns.collect()
    }
}

impl Local {
    fn new(keys: &[&ArrayRef], texts: &mut [Texts]) -> Self {
        let columns: Vec<Dictionary> =
            keys.iter().zip(texts).map(|(keys, texts)| Dictionary::new(keys, texts)).collect();
        let sizes = columns.iter().map(|column| column.numbers.len() as u64);
        let cells = sizes.fold(1_u64, u64::saturating_mul);
        let cells = usize::try_from(cells).ok().filter(|_| cells <= TABLE_MAX);
        Self { columns, table: cells.map(|cells| vec![NONE; cells]) }
    }

    fn is_of(&self, keys: &[&ArrayRef]) -> bool {
        self.columns.iter().zip(keys).all(|(column, keys)| {
            column.data.ptr_eq(&keys.as_dictionary::<Int32Type>().values().to_data())
        })
    }

    fn bytes(&self) -> usize {
        let numbers: usize = self.columns.iter().map(|column| column.numbers.len()).sum();
        (numbers + self.table.as_ref().map_or(0, Vec::len)) * size_of::<u32>()
    }
}

impl Dictionary {
    fn new(keys: &ArrayRef, texts: &mut Texts) -> Self {
        let values = keys.as_dictionary::<Int32Type>().values();
        let all = values.as_string::<i32>().iter().chain([None]);
        Self { data: values.to_data(), numbers: all.map(|text| texts.number(text)).collect() }
    }

    /// The number of a text by its key here.
    fn number(&self, key: Option<i32>) -> Result<u32> {
        let at = key.map_or(Ok(self.numbers.len() - 1), usize::try_from);
        at.ok().and_then(|at| self.numbers.get(at).copied()).ok_or_else(not_there)
    }
}

/// Where in a table the keys of rows are.
fn cells_of(columns: &[Dictionary], keys: &[&ArrayRef], rows: usize, cells: &mut Vec<u32>) {
    cells.clear();
    cells.resize(rows, 0);
    for (column, keys) in columns.iter().zip(keys) {
        let keys = keys.as_dictionary::<Int32Type>().keys();
        // A table is not so large that these were not the whole numbers.
        let size = u32::try_from(column.numbers.len()).unwrap_or(NONE);
        // What is no key of the dictionary ends outside of the table, or at a place of its own:
        // no memory is touched by it that is not there.
        match keys.nulls() {
            None => {
                for (cell, key) in cells.iter_mut().zip(keys.values()) {
                    *cell = cell.wrapping_mul(size).wrapping_add(key.cast_unsigned());
                }
            }
            Some(nulls) => {
                for (row, (cell, key)) in cells.iter_mut().zip(keys.values()).enumerate() {
                    let key = if nulls.is_null(row) { size - 1 } else { key.cast_unsigned() };
                    *cell = cell.wrapping_mul(size).wrapping_add(key);
                }
            }
        }
    }
}

fn not_there() -> DataFusionError {
    DataFusionError::Execution("a dictionary has no text of a number".to_owned())
}
