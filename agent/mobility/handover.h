// What a host signs about the bindings that it has given up, so that the host which has them now
// can show it to others: nobody believes who says that something is his. It matters where the host
// that was left cannot tell by itself any more.
#pragma once

#include "agent/control/database.h"
#include "agent/mobility/mobility.pb.h"
#include "agent/network/hearsay.h"
#include "overlay/channel/channel.h"
#include "overlay/channel/tls.h"

#include <string>
#include <vector>

namespace homeport::agent {

struct Handover {
  std::string from;  ///< the host that has signed it
  Moved moved;
};

/// A SignedHandover, serialized, for each binding of `application`: it is at `to` by `generation`.
/// To be said only once that is committed.
std::vector<std::string> sign_handovers(const overlay::TlsContext& tls, const Contents& contents,
                                        const std::string& application, const std::string& to,
                                        policy::Generation generation);

/// What is signed there, where the signature is that of the host that it names by `check`, which
/// knows the certificates of the control database. `permission_denied` or `invalid_argument`
/// otherwise, with a sentence.
policy::Result<Handover> read_handover(const SignedHandover& handover,
                                       const overlay::PeerCheck& check);

/// A move that has brought an application to `host`.
struct ArrivedMove {
  std::string source, host, application;
  policy::Generation generation = 0;  ///< of its bindings since then
};
/// Whether it is of this move, and of a binding of its application.
bool is_of_move(const Handover& handover, const ArrivedMove& move, const Contents& contents);

}  // namespace homeport::agent
