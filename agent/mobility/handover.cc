#include "agent/mobility/handover.h"

#include "overlay/channel/signed_statement.h"
#include "overlay/log/log.h"
#include "policy/text.h"

namespace homeport::agent {
namespace {

constexpr char kPurpose[] = "handover of a binding";

}  // namespace

std::vector<std::string> sign_handovers(const overlay::TlsContext& tls, const Contents& contents,
                                        const std::string& application, const std::string& to,
                                        policy::Generation generation) {
  std::vector<std::string> handovers;
  for (const Binding* binding : contents.bindings_of(application)) {
    HandoverStatement statement;
    statement.set_from(tls.host());
    statement.set_binding(binding->name);
    statement.set_host(to);
    statement.set_generation(generation);
    auto made = overlay::sign(tls, kPurpose, statement.SerializeAsString());
    if (!made) {  // The control database tells the others, as it does in any case.
      overlay::log::warn("{}", made.error().message);
      continue;
    }
    SignedHandover handover;
    handover.set_statement(std::move(made->statement));
    handover.set_signature(std::move(made->signature));
    handover.set_certificate(std::move(made->certificate));
    handovers.push_back(handover.SerializeAsString());
  }
  return handovers;
}

policy::Result<Handover> read_handover(const SignedHandover& handover,
                                       const overlay::PeerCheck& check) {
  auto signer = overlay::signer_of(
      {handover.statement(), handover.signature(), handover.certificate()}, kPurpose);
  if (!signer) return policy::with_context("the handover that is shown", signer.error());
  HandoverStatement statement;
  if (!statement.ParseFromString(handover.statement())) {
    return policy::make_error(boost::system::errc::invalid_argument,
                              "the handover that is shown is no handover");
  }
  Handover read{policy::printable(statement.from()),
                {policy::printable(statement.binding()), policy::printable(statement.host()),
                 statement.generation()}};
  if (auto known = check(read.from, *signer); !known) return known.error();
  return read;
}

bool is_of_move(const Handover& handover, const ArrivedMove& move, const Contents& contents) {
  const Moved& moved = handover.moved;
  auto row = contents.bindings.find(moved.binding);
  return handover.from == move.source && moved.host == move.host &&
         moved.generation == move.generation && row != contents.bindings.end() &&
         row->second.application == move.application;
}

}  // namespace homeport::agent
