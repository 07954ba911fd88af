//! A route table with its routes and the subnets that use it. Both are exact: what the spec does not say goes.

use super::{GatewayId, RouteTableId, SubnetId, VpcId, gone, shared_list, tag_spec};
use crate::{
    aws::{Aws, Result, TagTarget, View},
    engine::{Change, How, Input, Live, Resource, Slot, Tags, differs, differs_as},
};
use aws_sdk_ec2::types::{ResourceType, Route, RouteOrigin, RouteTable as Ec2RouteTable};
use std::collections::{BTreeMap, BTreeSet};

/// A route table.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteTable {
    /// The VPC it is in.
    pub vpc: Input<VpcId>,
    /// Where everything that is not local goes.
    pub default_route: Option<Input<GatewayId>>,
    /// Routes beyond the default one, as `destination -> target`; none are wanted. `local` ones are AWS's own.
    pub other_routes: BTreeMap<String, String>,
    /// The subnets that use it.
    pub subnets: Vec<Input<SubnetId>>,
}

/// What a route table offers to others, and the ids of its associations.
#[derive(Clone, Debug)]
pub struct RouteTableOut {
    /// Its id.
    pub id: RouteTableId,
    /// Id of the association with each subnet.
    pub associations: BTreeMap<SubnetId, String>,
}

shared_list!(Tables(Ec2RouteTable), describe_route_tables);

const EVERYWHERE: &str = "0.0.0.0/0";

impl Resource for RouteTable {
    const KIND: &'static str = "route_table";
    const AFTER: &'static [&'static str] = &["internet_gateway"];
    type Output = RouteTableOut;

    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        let mut slots: Vec<&mut dyn Slot> = vec![&mut self.vpc];
        slots.extend(self.default_route.iter_mut().map(|g| g as &mut dyn Slot));
        slots.extend(self.subnets.iter_mut().map(|s| s as &mut dyn Slot));
        slots
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { vpc, default_route, other_routes, subnets } = self;
        let mut changes: Vec<_> = [
            differs("vpc", vpc, &live.vpc, How::CreateFirst),
            differs("default_route", default_route, &live.default_route, How::InPlace),
            differs("other_routes", other_routes, &live.other_routes, How::InPlace),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !super::same_set(subnets, &live.subnets) {
            changes.push(differs_as("subnets", format!("{:?}", live.subnets), format!("{subnets:?}"), How::InPlace));
        }
        changes
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        Ok(Tables::of_stack(view).await?.into_iter().map(|(table, tags)| read(view, &table, tags)).collect())
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<RouteTableOut> {
        let spec = tag_spec(ResourceType::RouteTable, tags);
        let call = aws.ec2_once.create_route_table().vpc_id(&self.vpc.get()?.0).tag_specifications(spec);
        let made = call.send().await?;
        let id = made.route_table().and_then(|t| t.route_table_id()).unwrap_or_default().to_owned();
        let fresh = RouteTableOut { id: RouteTableId(id), associations: BTreeMap::new() };
        self.set_default_route(aws, &fresh.id, None).await?;
        self.set_subnets(aws, &fresh).await?;
        Ok(fresh)
    }

    async fn update(&self, aws: &Aws, live: &Live<Self>, changes: &[Change]) -> Result<RouteTableOut> {
        for change in changes {
            match change.field {
                "default_route" => {
                    let had = live.state.default_route.is_some() || live.state.other_routes.contains_key(EVERYWHERE);
                    self.set_default_route(aws, &live.output.id, had.then_some(())).await?;
                }
                "other_routes" => {
                    for destination in live.state.other_routes.keys().filter(|d| *d != EVERYWHERE) {
                        let call = aws.ec2.delete_route().route_table_id(&live.id);
                        let call = if destination.starts_with("pl-") {
                            call.destination_prefix_list_id(destination)
                        } else if destination.contains(':') {
                            call.destination_ipv6_cidr_block(destination)
                        } else {
                            call.destination_cidr_block(destination)
                        };
                        gone(call.send().await)?;
                    }
                    if live.state.other_routes.contains_key(EVERYWHERE) {
                        self.set_default_route(aws, &live.output.id, Some(())).await?;
                    }
                }
                _ => self.set_subnets(aws, &live.output).await?,
            }
        }
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        for association in live.output.associations.values() {
            gone(aws.ec2.disassociate_route_table().association_id(association).send().await)?;
        }
        gone(aws.ec2.delete_route_table().route_table_id(&live.id).send().await)
    }

    fn tag_target(output: &RouteTableOut) -> Option<TagTarget> {
        Some(TagTarget::Ec2(output.id.0.clone()))
    }
}

impl RouteTable {
    async fn set_default_route(&self, aws: &Aws, id: &RouteTableId, had: Option<()>) -> Result<()> {
        match (&self.default_route, had) {
            (None, None) => Ok(()),
            (None, Some(())) => {
                gone(aws.ec2.delete_route().route_table_id(&id.0).destination_cidr_block(EVERYWHERE).send().await)
            }
            (Some(gateway), None) => {
                let call = aws.ec2.create_route().route_table_id(&id.0).destination_cidr_block(EVERYWHERE);
                call.gateway_id(&gateway.get()?.0).send().await?;
                Ok(())
            }
            (Some(gateway), Some(())) => {
                let call = aws.ec2.replace_route().route_table_id(&id.0).destination_cidr_block(EVERYWHERE);
                call.gateway_id(&gateway.get()?.0).send().await?;
                Ok(())
            }
        }
    }

    async fn set_subnets(&self, aws: &Aws, live: &RouteTableOut) -> Result<()> {
        let wanted = self.subnets.iter().map(Input::get).collect::<Result<BTreeSet<_>>>()?;
        for subnet in &wanted {
            if !live.associations.contains_key(*subnet) {
                let call = aws.ec2.associate_route_table().route_table_id(&live.id.0).subnet_id(&subnet.0);
                call.send().await?;
            }
        }
        for (_, association) in live.associations.iter().filter(|(s, _)| !wanted.contains(s)) {
            gone(aws.ec2.disassociate_route_table().association_id(association).send().await)?;
        }
        Ok(())
    }
}

fn read(view: &View, table: &Ec2RouteTable, tags: Tags) -> Live<RouteTable> {
    let id = table.route_table_id().unwrap_or_default();
    let (owner, name) = view.ownership.of(RouteTable::KIND, &tags, id);
    let associations: BTreeMap<SubnetId, String> = table
        .associations()
        .iter()
        .filter_map(|a| Some((a.subnet_id()?.into(), a.route_table_association_id()?.to_owned())))
        .collect();
    let mut default_route = None;
    let mut other_routes = BTreeMap::new();
    for route in table.routes().iter().filter(|r| r.gateway_id() != Some("local")) {
        if matches!(route.origin(), Some(RouteOrigin::CreateRouteTable)) {
            continue;
        }
        let destination = route
            .destination_cidr_block()
            .or(route.destination_ipv6_cidr_block())
            .or(route.destination_prefix_list_id())
            .unwrap_or_default();
        match route.gateway_id() {
            Some(gateway) if destination == EVERYWHERE => default_route = Some(Input::Known(GatewayId::from(gateway))),
            _ => drop(other_routes.insert(destination.to_owned(), target(route))),
        }
    }
    let state = RouteTable {
        vpc: Input::Known(table.vpc_id().unwrap_or_default().into()),
        default_route,
        other_routes,
        subnets: associations.keys().cloned().map(Input::Known).collect(),
    };
    let output = RouteTableOut { id: id.into(), associations };
    Live { owner, tags: Some(tags), ..Live::ready(name, id, state, output) }
}

fn target(route: &Route) -> String {
    route
        .gateway_id()
        .or(route.nat_gateway_id())
        .or(route.network_interface_id())
        .or(route.instance_id())
        .or(route.vpc_peering_connection_id())
        .or(route.transit_gateway_id())
        .unwrap_or("something else")
        .to_owned()
}
