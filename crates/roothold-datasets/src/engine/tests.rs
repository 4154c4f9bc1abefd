use std::sync::Arc;
use std::time::Duration;

use roothold_core::{Budget, Fault, FaultKind};

use crate::Meter;
use crate::testing::{budget, engine, wait};

#[test]
fn a_panic_is_a_fault_and_the_engine_goes_on() {
    let engine = engine();
    let budget = budget();
    let meter = Arc::new(Meter::new(&budget));
    let fault = wait(engine.blocking::<()>(&budget, &meter, || panic!("a decoder")));
    assert_eq!(fault.unwrap_err().kind(), FaultKind::Unsupported);
    let fault = wait(engine.run::<()>(&budget, &meter, async { panic!("another") }));
    assert_eq!(fault.unwrap_err().kind(), FaultKind::Unsupported);
    assert_eq!(wait(engine.blocking(&budget, &meter, || Ok(7))).unwrap(), 7);
}

#[test]
fn an_overdue_call_is_told_and_its_work_is_stopped() {
    let engine = engine();
    let budget = Budget::new(1, 1, Duration::from_millis(50));
    let meter = Arc::new(Meter::new(&budget));
    let inner = Arc::clone(&meter);
    let (sender, receiver) = std::sync::mpsc::channel::<Fault>();
    let call = engine.blocking::<()>(&budget, &meter, move || {
        loop {
            if let Err(fault) = inner.check() {
                sender.send(fault.again()).unwrap();
                return Err(fault);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(wait(call).unwrap_err().kind(), FaultKind::Timeout);
    receiver.recv_timeout(Duration::from_secs(30)).expect("the work ends too");
}
