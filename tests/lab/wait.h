// Waiting on conditions. Nothing in the lab sleeps for a fixed time and hopes.
#pragma once

#include <chrono>
#include <functional>
#include <string>

namespace homeport::lab {

using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC: one clock for every process here
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""ms;

/// Polls `condition` every few milliseconds until it holds.
/// Throws LabFailure naming `what` (and what `evidence` returns, such as the tail of a log) when
/// `timeout` has passed, Interrupted on SIGINT or SIGTERM.
void wait_until(const std::function<bool()>& condition, Clock::duration timeout,
                const std::string& what, const std::function<std::string()>& evidence = {});

/// Lets a fault last. Never to hope that something has happened meanwhile.
void let_pass(Clock::duration time);

/// From now on SIGINT and SIGTERM end the next wait with Interrupted instead of the process.
void end_waits_on_signals();

/// Throws Interrupted when such a signal has come.
void throw_if_interrupted();

}  // namespace homeport::lab
