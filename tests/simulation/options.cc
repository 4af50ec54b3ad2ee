// SPDX-License-Identifier: MIT
#include "tests/simulation/options.h"

namespace chatchain::simulation {

std::vector<std::pair<std::string_view, uint64_t*>> RatesByName(Rates* rates) {
  return {
      {"loss", &rates->loss},
      {"duplicate", &rates->duplicate},
      {"slow", &rates->slow},
      {"truncate", &rates->truncate},
      {"bit_flip", &rates->bit_flip},
      {"bad_record", &rates->bad_record},
      {"partition", &rates->partition},
      {"one_way", &rates->one_way},
      {"flap", &rates->flap},
      {"slow_link", &rates->slow_link},
      {"heal_network", &rates->heal_network},
      {"kill", &rates->kill},
      {"power", &rates->power},
      {"power_later", &rates->power_later},
      {"crash_step", &rates->crash_step},
      {"stop", &rates->stop},
      {"start", &rates->start},
      {"disk_full", &rates->disk_full},
      {"disk_error", &rates->disk_error},
      {"slow_disk", &rates->slow_disk},
      {"snapshot", &rates->snapshot},
      {"restore", &rates->restore},
      {"restore_elsewhere", &rates->restore_elsewhere},
      {"forget_seal", &rates->forget_seal},
      {"wipe", &rates->wipe},
      {"clone", &rates->clone},
      {"new_id", &rates->new_id},
      {"fork", &rates->fork},
      {"damage", &rates->damage},
      {"clock_jump", &rates->clock_jump},
      {"proxy_death", &rates->proxy_death},
      {"repeat", &rates->repeat},
      {"reuse", &rates->reuse},
      {"batch", &rates->batch},
      {"acks", &rates->acks},
      {"read", &rates->read},
      {"list", &rates->list},
      {"walk", &rates->walk},
      {"poll", &rates->poll},
      {"astray", &rates->astray},
  };
}

}  // namespace chatchain::simulation
