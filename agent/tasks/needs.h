// What an application needs of the host that runs it.
#pragma once

#include "agent/control/records.h"
#include "policy/error.h"

#include <cstdint>

namespace homeport::agent {

struct Needs {
  std::uint64_t memory_mib = 256;
  std::uint32_t vcpus = 1;
};

/// From its properties; errc::invalid_argument where they make no sense.
policy::Result<Needs> needs_of(const Application& application);

}  // namespace homeport::agent
