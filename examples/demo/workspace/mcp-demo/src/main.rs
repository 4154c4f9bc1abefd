//! Quotes a parcel: `quote WEIGHT_KG DISTANCE_KM`.

use std::process::ExitCode;

/// The heaviest parcel that the carrier takes.
const WEIGHT_MAX_KG: f64 = 31.5;
const BASE_EUR: f64 = 4.2;
const PER_KG_EUR: f64 = 0.6;
const PER_100_KM_EUR: f64 = 0.9;

fn main() -> ExitCode {
    let numbers: Vec<f64> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    match numbers[..] {
        [weight, distance] if weight <= WEIGHT_MAX_KG => {
            println!("{:.2} EUR", quote(weight, distance));
            ExitCode::SUCCESS
        }
        [_, _] => {
            eprintln!("a parcel weighs at most {WEIGHT_MAX_KG} kg");
            ExitCode::FAILURE
        }
        _ => {
            eprintln!("usage: quote WEIGHT_KG DISTANCE_KM");
            ExitCode::FAILURE
        }
    }
}

fn quote(weight: f64, distance: f64) -> f64 {
    BASE_EUR + weight * PER_KG_EUR + distance / 100.0 * PER_100_KM_EUR
}
