// Figures of paths for a person: in sentences, tables and pages. Pure.
#pragma once

#include "policy/path/quality.h"

#include <cstdint>
#include <string>

namespace homeport::agent {

/// "0.21 ms", "12.3 ms", "1.20 s".
std::string format_micros(policy::Micros time);
/// "0 %", "0.01 %", "2.0 %", "100 %".
std::string format_loss(policy::LossPpm loss);
/// "940 Mbit/s", "10.0 Gbit/s".
std::string format_rate(std::uint64_t bits_per_second);

}  // namespace homeport::agent
