#include "agent/status/path_units.h"

#include <fmt/format.h>

#include <array>

namespace homeport::agent {

std::string format_micros(policy::Micros time) {
  const double ms = static_cast<double>(time.count()) / 1e3;
  if (ms < 9.995) return fmt::format("{:.2f} ms", ms);
  if (ms < 99.95) return fmt::format("{:.1f} ms", ms);
  if (ms < 999.5) return fmt::format("{:.0f} ms", ms);
  return ms < 9'995 ? fmt::format("{:.2f} s", ms / 1e3) : fmt::format("{:.1f} s", ms / 1e3);
}

std::string format_loss(policy::LossPpm loss) {
  if (loss == 0) return "0 %";
  if (loss >= policy::kAllLost) return "100 %";
  const double percent = static_cast<double>(loss) / 1e4;
  // What is lost at all is not shown as nothing.
  if (percent < 0.01) return "< 0.01 %";
  return percent < 0.995 ? fmt::format("{:.2f} %", percent) : fmt::format("{:.1f} %", percent);
}

std::string format_rate(std::uint64_t bits_per_second) {
  static constexpr std::array units = {"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"};
  double amount = static_cast<double>(bits_per_second);
  std::size_t unit = 0;
  while (amount >= 999.5 && unit + 1 < units.size()) {
    amount /= 1000;
    ++unit;
  }
  return amount < 99.95 && unit > 0 ? fmt::format("{:.1f} {}", amount, units[unit])
                                    : fmt::format("{:.0f} {}", amount, units[unit]);
}

}  // namespace homeport::agent
