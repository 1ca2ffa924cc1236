// IPsec policies of the kernel (rtnetlink's cousin xfrm, ip-xfrm(8)).
#pragma once

#include "policy/error.h"

#include <cstdint>

namespace homeport::overlay {

/// How many there are for what this network namespace receives, and for what it sends.
struct IpsecPolicies {
  std::uint32_t in = 0, out = 0;
};

policy::Result<IpsecPolicies> ipsec_policies();

}  // namespace homeport::overlay
