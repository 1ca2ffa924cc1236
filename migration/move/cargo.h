// What a move carries from one host to the other.
#pragma once

#include <cstdint>

namespace homeport::migration {

enum class Cargo : std::uint8_t {
  vm,     ///< a virtual machine: its memory, its devices' state, its ports
  ports,  ///< nothing but the ports: what lives behind them is started and ended by somebody else
};

}  // namespace homeport::migration
