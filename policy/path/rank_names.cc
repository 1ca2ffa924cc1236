#include "policy/path/rank.h"

namespace homeport::policy {

std::string_view to_string(Standing standing) {
  switch (standing) {
    case Standing::pinned:
      return "pinned";
    case Standing::good:
      return "good";
    case Standing::poor:
      return "poor";
    case Standing::damped:
      return "damped";
    case Standing::unmeasured:
      return "unmeasured";
    case Standing::excluded:
      return "excluded";
  }
  return "unknown";
}

std::string_view to_string(Obstacle obstacle) {
  switch (obstacle) {
    case Obstacle::none:
      return "none";
    case Obstacle::forbidden:
      return "forbidden";
    case Obstacle::relay_not_allowed:
      return "relay-not-allowed";
    case Obstacle::too_costly:
      return "too-costly";
    case Obstacle::broken:
      return "broken";
    case Obstacle::unmeasured:
      return "unmeasured";
    case Obstacle::damped:
      return "damped";
    case Obstacle::slow:
      return "slow";
    case Obstacle::lossy:
      return "lossy";
    case Obstacle::narrow:
      return "narrow";
    case Obstacle::small_mtu:
      return "small-mtu";
  }
  return "unknown";
}

std::string_view to_string(Criterion criterion) {
  switch (criterion) {
    case Criterion::standing:
      return "standing";
    case Criterion::preference:
      return "preference";
    case Criterion::time:
      return "time";
    case Criterion::cost:
      return "cost";
    case Criterion::directness:
      return "directness";
    case Criterion::default_route:
      return "default-route";
    case Criterion::speed:
      return "speed";
    case Criterion::address:
      return "address";
  }
  return "unknown";
}

}  // namespace homeport::policy
