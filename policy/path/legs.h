// What is known of a path through a host that relays, from what is known of its two parts: nobody
// measures it from end to end.
#pragma once

#include "policy/path/quality.h"

namespace homeport::policy {

/// `near`: of the path to the host that relays, as this host sees it; `far`: of the path from there
/// on, as the host that relays sees it. A value that both parts add to (round-trip time, variation)
/// is known only if it is of both; of the others what is known of one part is a bound that holds.
PathQuality one_after_the_other(const PathQuality& near, const PathQuality& far);

}  // namespace homeport::policy
