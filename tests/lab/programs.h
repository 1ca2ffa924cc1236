// Where the programs under test are.
#pragma once

#include <string>

namespace homeport::lab {

/// Paths of `homeportd` and `homeport` as built beside the lab; $HOMEPORT_BIN names a directory
/// with others, for instance an installed package's.
std::string homeportd_program();
std::string homeport_program();
/// homeportd that can be held at a step of a move, see held_agent.cc.
std::string held_homeportd_program();
/// homeportd of later versions, see other_agent.cc: 99.0 still speaks this version's protocol
/// between agents, 100.0 does not.
std::string newer_homeportd_program();
std::string apart_homeportd_program();

}  // namespace homeport::lab
